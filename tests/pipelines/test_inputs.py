"""What `prepare` refuses at once, because it would fail deep inside or make something else than was meant."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

from asym_jax.errors import InputError  # noqa: E402
from asym_jax.pipelines import FlaxAsymmetricInpaintPipeline, FlaxAsymmetricTextToImagePipeline  # noqa: E402
from tests.pipelines import tiny  # noqa: E402

PICTURE, HOLE = np.zeros((48, 80, 3), np.uint8), np.zeros((48, 80), np.uint8)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory):
    return tiny.tokenizer(Path(tmp_path_factory.mktemp("words")))


def inpaint(words, *given, **named):
    """`prepare` needs no networks, only these."""
    return FlaxAsymmetricInpaintPipeline.prepare(SimpleNamespace(tokenizer=words, multiple=16), *given, **named)


def text_to_image(words, *given, **named):
    return FlaxAsymmetricTextToImagePipeline.prepare(SimpleNamespace(tokenizer=words), *given, **named)


def test_a_string_is_no_list_of_prompts(words):
    for prepare, rest in ((inpaint, ([PICTURE], [HOLE])), (text_to_image, ())):
        with pytest.raises(InputError, match=r"^prompts must be .* is the string 'a b': put it in a list, \['a b'\]$"):
            prepare(words, "a b", *rest)
        with pytest.raises(InputError, match=r"^negative_prompts must be .* is the string 'c': put it in a list, \['c'\]$"):
            prepare(words, ["a b"], *rest, negative_prompts="c")
        with pytest.raises(InputError, match="^there are no prompts: give one for each result$"):
            prepare(words, [], *rest)
        inputs = prepare(words, ["a b"], *rest, negative_prompts=["c"])
        # Of the tokenizer's vocabulary: "a</w>" is 1, "b</w>" 3, "c</w>" 5, and 18 and 19 are start and end.
        np.testing.assert_array_equal(inputs.prompt_ids, [[18, 1, 3, 19, 19, 19, 19, 19]])
        np.testing.assert_array_equal(inputs.negative_ids, [[18, 5, 19, 19, 19, 19, 19, 19]])

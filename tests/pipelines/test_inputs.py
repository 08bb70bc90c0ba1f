"""What `prepare` refuses at once, because it would fail deep inside or make something else than was meant."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from asym_jax.errors import InputError  # noqa: E402
from asym_jax.pipelines import (  # noqa: E402
    FlaxAsymmetricInpaintPipeline,
    FlaxAsymmetricTextToImagePipeline,
    FlaxPaintByExamplePipeline,
)
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


def paint(*given, **named):
    encoder = SimpleNamespace(config=SimpleNamespace(image_size=32))
    return FlaxPaintByExamplePipeline.prepare(SimpleNamespace(image_encoder=encoder, multiple=16), *given, **named)


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


def test_as_many_of_everything(words):
    for prepare, rest in ((inpaint, ([PICTURE], [HOLE])), (text_to_image, ())):
        with pytest.raises(InputError, match="^2 prompts and 1 negative prompts: give one for each prompt, or none at all$"):
            prepare(words, ["a", "b"], *rest, negative_prompts=["c"])
        with pytest.raises(InputError, match=r"^index has shape \(1,\), and there are 2 results: give one number for each$"):
            prepare(words, ["a", "b"], *rest, index=[7])
        np.testing.assert_array_equal(prepare(words, ["a", "b"], *rest).index, [0, 1])
    example = Image.new("RGB", (20, 30))
    for counts in ((1, 2, 2), (2, 1, 2), (2, 2, 1), (2, 1, 1)):
        given = ([one] * count for one, count in zip((example, PICTURE, HOLE), counts, strict=True))
        with pytest.raises(InputError, match="^{} examples, {} pictures and {} masks: give one of each".format(*counts)):
            paint(*given)
    with pytest.raises(InputError, match=r"^index has shape \(2,\), and there are 1 results"):
        paint([example], [PICTURE], [HOLE], index=[7, 8])
    np.testing.assert_array_equal(paint([example], [PICTURE], [HOLE], index=[7]).index, [7])


def test_pictures_and_masks_have_one_size_and_pictures_three_channels(words):
    example = Image.new("RGB", (20, 30))
    for prepare in (lambda *given: inpaint(words, ["a"], *given), lambda *given: paint([example], *given)):
        with pytest.raises(
            InputError, match="^the pictures have 48 x 80 pixels and the masks 64 x 80: give masks of the pictures'"
        ):
            prepare([PICTURE], [np.zeros((64, 80), np.uint8)])
        for shape in ((48, 80), (48, 80, 1), (48, 80, 4), (1, 48, 80, 3)):
            with pytest.raises(InputError, match="^an array must be .* has shape " + re.escape(str(shape))):
                prepare([np.zeros(shape, np.uint8)], [HOLE])
        inputs = prepare([Image.new("L", (80, 48), 255)], [np.full((48, 80, 1), 255, np.uint8)])  # Pillow's grey is converted
        np.testing.assert_array_equal(inputs.image, np.ones((1, 48, 80, 3)))
        np.testing.assert_array_equal(inputs.mask, np.ones((1, 48, 80, 1)))


def test_floats_that_are_no_numbers_or_lie_beyond_the_range(words):
    """One NaN in a picture would make the whole result NaN: normalisation spreads it."""
    for wrong in (np.nan, 1.5, -1.5):
        picture = np.zeros((48, 80, 3), np.float32)
        picture[5, 7, 1] = wrong
        with pytest.raises(InputError, match=r"^a picture of floats must be in \[-1, 1\]; this one has "):
            inpaint(words, ["a b"], [picture], [HOLE])
    for wrong in (np.nan, 1.5, -0.5):
        mask = np.zeros((48, 80), np.float32)
        mask[5, 7] = wrong
        with pytest.raises(InputError, match=r"^a mask of floats must be in \[0, 1\]; this one has "):
            inpaint(words, ["a b"], [PICTURE], [mask])

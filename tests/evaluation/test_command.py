"""What a command line of `eval.py` asks for, and what it is told is wrong with it."""

import importlib

import jax
import pytest

from asym_jax.data.evaluation_sets.examples import EvaluationSet
from asym_jax.data.evaluation_sets.named import GRAMMAR
from asym_jax.data.mask_sets import MASK_RECIPES
from asym_jax.evaluation import tasks
from asym_jax.evaluation.command import parse_eval
from asym_jax.training import compiled

program = importlib.import_module("eval")  # its name is also a builtin's

INPAINT = ["--weights", "w", "--images", "i", "--pipeline", "p"]
RECONSTRUCT = ["--task", "reconstruct", "--weights", "w", "--vae", "v", "--images", "i"]


@pytest.mark.parametrize(
    ("arguments", "size", "masks"),
    [
        (["--table", "1", *INPAINT], 512, "thick_512_limited"),
        (["--table", "2", *INPAINT], 256, "thick_256_limited"),
        (["--task", "inpaint", *INPAINT], 512, "thick_512_limited"),
        (["--table", "1", *INPAINT, "--masks", "thick_512"], 512, "thick_512"),
        (RECONSTRUCT, 512, "thick_512"),
        (RECONSTRUCT, 256, "thick_256"),
        ([*RECONSTRUCT, "--images", "pairs:i"], 256, None),
    ],
)
def test_masks_unless_others_are_given(monkeypatch, capsys, arguments, size, masks):
    """The paper's pictures have holes of at most half of them."""
    asked = {}
    nothing = EvaluationSet(0, size=size)
    monkeypatch.setattr(tasks, "open_evaluation_set", lambda images, **settings: asked.update(settings) or nothing)
    tasks.open_examples(parse_eval([*arguments, "--limit", "3"], ""), size=size, masked=True)
    assert (asked["masks"], asked["size"], asked["limit"]) == (masks, size, 3)
    assert ("looking for pictures" in capsys.readouterr().out) == (masks is not None and "limited" in masks)


def refusal(capsys, *arguments):
    """The message about a command line that is refused."""
    with pytest.raises(SystemExit) as caught:
        parse_eval(arguments, "")
    assert caught.value.code == 2
    return capsys.readouterr().err.rpartition("error: ")[2].strip()


def test_a_seed_that_does_not_fit_32_bits_is_refused_at_once(capsys):
    assert parse_eval([*RECONSTRUCT, "--seed", "2147483647"], "").seed == 2**31 - 1
    assert jax.jit(lambda seed: seed)(2**31 - 1) == 2**31 - 1
    with pytest.raises(OverflowError):  # what would come after the weights were loaded
        jax.jit(lambda seed: seed)(2**31)
    said = "argument --seed: must be at most 2147483647, not 2147483648"
    assert refusal(capsys, *RECONSTRUCT, "--seed", "2147483648") == said
    assert refusal(capsys, *RECONSTRUCT, "--seed", "-1") == "argument --seed: must be a whole number, not '-1'"


def test_what_is_compiled_is_kept_before_anything_is_compiled(monkeypatch):
    done = []
    monkeypatch.setattr(compiled, "keep_on_disk", lambda: done.append("keep"))
    monkeypatch.setattr(tasks, "run", lambda command: done.append(command.task))
    program.main(RECONSTRUCT)
    assert done == ["keep", "reconstruct"]


def test_pictures_that_are_drawn_whole_have_no_masks(capsys):
    said = "--task text-to-image draws whole pictures: leave out --masks"
    assert refusal(capsys, "--task", "text-to-image", *INPAINT, "--masks", "full") == said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            [*RECONSTRUCT, "--pipeline", "p", "--steps", "50", "--eta", "0", "--prompt", ""],
            "--task reconstruct encodes and decodes, without a diffusion model: leave out --pipeline, --steps, --eta, --prompt",
        ),
        (
            ["--task", "text-to-image", *INPAINT, "--prompt", "a cat"],
            "--prompt is what inpainting is told: leave it out of --task text-to-image",
        ),
        (
            ["--task", "text-to-image", *INPAINT, "--eta", "0.5"],
            "--eta 0.5 is noise that DDIM adds, and this is --scheduler plms: leave out --eta, or give --scheduler ddim",
        ),
        (
            ["--task", "inpaint", *INPAINT, "--scheduler", "plms", "--eta", "1"],
            "--eta 1 is noise that DDIM adds, and this is --scheduler plms: leave out --eta, or give --scheduler ddim",
        ),
        (["--task", "inpaint", *INPAINT, "--eta", "1.5"], "argument --eta: must be a number from 0 to 1, not '1.5'"),
        (["--task", "inpaint", *INPAINT, "--eta", "nan"], "argument --eta: must be a number from 0 to 1, not 'nan'"),
    ],
)
def test_what_would_have_no_effect_is_refused(capsys, arguments, said):
    assert refusal(capsys, *arguments) == said


def test_what_has_an_effect_is_not_refused():
    assert parse_eval(["--task", "text-to-image", *INPAINT, "--eta", "0.5", "--scheduler", "ddim"], "").eta == 0.5
    assert parse_eval(["--task", "text-to-image", *INPAINT, "--eta", "0"], "").eta == 0
    found = parse_eval(["--task", "inpaint", *INPAINT, "--eta", "0.5", "--prompt", "", "--steps", "3"], "")
    assert (found.eta, found.prompt, found.steps) == (0.5, "", 3)
    assert parse_eval(RECONSTRUCT, "").steps is None


def test_help_names_every_set_and_every_recipe(capsys):
    with pytest.raises(SystemExit):
        parse_eval(["--help"], program.__doc__)
    out = capsys.readouterr().out
    said = "".join(out.split())  # lines may end at a hyphen
    for spec in GRAMMAR.replace(", or ", ", ").split(", "):
        assert spec.partition(":")[0] in said, spec
    assert "places365:tfds:" in said
    for word in {word for recipe in MASK_RECIPES for word in recipe.split("_")} | {"_limited"}:
        assert word in said, word
    usage = out.partition("\n\n    python")[2].partition("\n\n")[0]
    assert "--vae" in usage and "--pipeline" in usage

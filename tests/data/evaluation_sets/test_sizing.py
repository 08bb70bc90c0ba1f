import numpy as np
import pytest
from PIL import Image

from asym_jax.data.crops import centre_crop
from asym_jax.data.evaluation_sets.sizing import SIZINGS, find_sizing, square_mask
from asym_jax.errors import InputError

PICTURE = np.random.default_rng(0).integers(0, 256, (300, 420, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["centre", "bicubic", "enlarge_256"])
@pytest.mark.parametrize("size", [256, 300, 512])
def test_every_rule_gives_the_central_square(name, size):
    """Where a picture is its coordinates, the middle stays in the middle and the sides are those of the square."""
    height, width = 300, 420
    ramp = np.zeros((height, width, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 209, height).astype(np.uint8)[:, None]
    ramp[..., 1] = np.linspace(0, 209, width).astype(np.uint8)[None]
    square = find_sizing(name).picture(ramp, size).astype(int)
    assert square.shape == (size, size, 3)
    assert abs(square[0, size // 2] - [0, 105, 0]).max() <= 3 and abs(square[-1, size // 2] - [209, 105, 0]).max() <= 3
    assert abs(square[size // 2, 0] - [105, 30, 0]).max() <= 3 and abs(square[size // 2, -1] - [105, 179, 0]).max() <= 3


def test_centre_is_the_crop_of_the_trainings_evaluation():
    np.testing.assert_array_equal(find_sizing("centre").picture(PICTURE, 64), centre_crop(PICTURE, size=64))


def test_pictures_of_places_are_enlarged_by_the_bicubic_filter():
    small = PICTURE[:256, :256]
    np.testing.assert_array_equal(find_sizing("enlarge_256").picture(small, 256), small)
    expected = np.asarray(Image.fromarray(small).resize((512, 512), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(find_sizing("enlarge_256").picture(small, 512), expected)
    with pytest.raises(ValueError, match="256 pixels and more, not of 128"):
        find_sizing("enlarge_256").picture(small, 128)


def test_exact_changes_nothing_and_refuses_the_rest():
    square = PICTURE[:64, :64]
    np.testing.assert_array_equal(find_sizing("exact").picture(square, 64), square)
    with pytest.raises(ValueError, match="420 x 300 pixels, and must be 64 x 64"):
        find_sizing("exact").picture(PICTURE, 64)


def test_masks_follow_their_pictures_and_stay_hard():
    mask = np.zeros((30, 42), np.uint8)
    mask[:, 6:16] = 255  # the left third of the central square
    for size in (15, 30, 60):
        square = square_mask(mask, size)
        assert square.shape == (size, size) and set(np.unique(square)) == {0, 255}
        assert (square[:, : size // 3] == 255).all() and (square[:, size // 3 + 1 :] == 0).all()


def test_unknown_rules_are_refused():
    with pytest.raises(InputError, match=f"unknown sizing 'fit': expected one of {', '.join(SIZINGS)}"):
        find_sizing("fit")

import cv2
import numpy as np
import pytest

from asym_jax.data.crops import centre_crop, random_crop

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [4, 8, 12])
def test_shrinking_by_whole_factors_is_the_area_average(size):
    expected = cv2.resize(PICTURE[:, 6:30], (size, size), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(centre_crop(PICTURE, size=size).astype(int), expected, atol=1)


def test_same_size_is_untouched():
    np.testing.assert_array_equal(centre_crop(PICTURE, size=24), PICTURE[:, 6:30])


def test_enlarging_is_bilinear():
    ramp = np.repeat(np.uint8([[[0]], [[100]]]), 2, axis=1).repeat(3, axis=2)
    np.testing.assert_array_equal(centre_crop(ramp, size=4)[:, 0, 0], [0, 25, 75, 100])


def test_random_crops_have_the_reference_sides_and_positions():
    """A picture whose colours are its coordinates tells where a crop was taken."""
    height, width = 100, 200
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.mgrid[:height, :width]
    rng = np.random.default_rng(1)
    lefts, tops, sides = [], [], []
    for _ in range(600):
        crop = random_crop(picture, size=200, scale=(0.5, 1.0), rng=rng).astype(int)
        assert crop[0, 0, 0] < crop[-1, 0, 0] and crop[0, 0, 1] < crop[0, -1, 1]  # never flipped
        sides.append(crop[-1, -1, 0] - crop[0, 0, 0] + 1)
        tops.append(crop[0, 0, 0] / max(1, height - sides[-1]))
        lefts.append(crop[0, 0, 1] / (width - sides[-1]))
    assert (min(sides), max(sides)) == (50, 99)  # int(100 * U(0.5, 1))
    assert abs(np.mean(sides) - 74.5) < 3 * 14.4 / 600**0.5
    for share in (tops, lefts):
        assert min(share) == 0 and max(share) == 1
        assert abs(np.mean(share) - 0.5) < 4 * 0.29 / 600**0.5


def test_random_crop_follows_its_generator():
    first, again, other = (random_crop(PICTURE, size=8, scale=(0.5, 1.0), rng=np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()

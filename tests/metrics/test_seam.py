import jax
import jax.numpy as jnp
import numpy as np

from asym_jax.metrics.pre_error import PreError, squared_error_sums
from asym_jax.metrics.seam import Seam, seam_sums

ONE, BOTH = np.array([True]), np.array([True, True])


def measure(pixels, reconstruction, mask, valid=ONE) -> Seam:
    return Seam.of(jax.jit(seam_sums)(*(jnp.asarray(array) for array in (pixels, reconstruction, mask))), valid)


def square_hole(side=16, hole=6):
    random = np.random.default_rng(0)
    pixels = random.integers(20, 236, (1, side, side, 3), dtype=np.uint8)
    mask = np.zeros((1, side, side, 1), np.float32)
    mask[:, 4 : 4 + hole, 5 : 5 + hole] = 1
    return pixels, mask


def test_by_pencil():
    # One hole pixel h between four kept ones, top to bottom and left to right; corners do not touch it.
    pixels = np.zeros((1, 3, 3, 3), np.uint8)
    picture = np.zeros((1, 3, 3, 3), np.uint8)
    mask = np.zeros((1, 3, 3, 1), np.float32)
    mask[0, 1, 1] = 1
    pixels[0, 1, 1], picture[0, 1, 1] = 50, 60  # error 10 in the hole
    picture[0, 0, 1] = 10  # the same error above it: no jump there
    picture[0, 1, 0] = 14  # 4 apart
    pixels[0, 1, 2] = 3  # error -3: 13 apart
    picture[0, 0, 0] = 255  # a corner
    seam = measure(pixels, picture, mask)  # the fourth neighbour, below, has no error: 10 apart
    assert (seam.sums.tolist(), seam.counts.tolist()) == ([3 * (0 + 4 + 13 + 10)], [12])
    np.testing.assert_allclose(seam.pooled(), (0 + 4 + 13 + 10) / 4 / 127.5, rtol=1e-15)


def test_the_original_and_errors_away_from_the_border_have_no_seam():
    pixels, mask = square_hole()
    assert measure(pixels, pixels, mask).pooled() == 0
    assert measure(pixels, pixels + 7, mask).pooled() == 0  # one shade everywhere
    inside = pixels.copy()
    inside[:, 6:8, 7:9] = 0
    inside[:, 0] = 255
    assert measure(pixels, inside, mask).pooled() == 0


def test_pasting_a_shifted_colour_wins_pre_error_and_loses_here():
    pixels, mask = square_hole()
    pasted = np.where(mask == 1, pixels + 19, pixels).astype(np.uint8)  # perfect outside, a shade off inside
    even = np.where(mask == 1, pixels + 19, pixels + 18).astype(np.uint8)  # off everywhere, without a seam
    errors = [PreError.of(squared_error_sums(*map(jnp.asarray, (pixels, each, mask))), ONE).pooled() for each in (pasted, even)]
    seams = [measure(pixels, each, mask).pooled() for each in (pasted, even)]
    assert errors[0] == 0 < errors[1]
    np.testing.assert_allclose(seams, [19 / 127.5, 1 / 127.5], rtol=1e-15)


def test_pictures_without_a_border_do_not_count():
    pixels, mask = (np.concatenate([array, array]) for array in square_hole())
    mask[1] = 1
    seam = measure(pixels, 255 - pixels, mask, BOTH)
    assert (seam.images, seam.skipped) == (1, 1)
    assert np.isnan(seam.per_picture()[1]) and seam.per_picture()[0] == seam.pooled() == seam.mean_of_ratios()
    assert seam.counts.tolist() == [3 * 4 * 6, 0]


def test_pairs_along_the_edge_of_the_picture_count():
    pixels = np.zeros((1, 2, 4, 3), np.uint8)
    mask = np.zeros((1, 2, 4, 1), np.float32)
    mask[0, :, 2:] = 1
    picture = pixels.copy()
    picture[0, 0, 2] = 8
    seam = measure(pixels, picture, mask)
    assert (seam.sums.tolist(), seam.counts.tolist()) == ([24], [6])


def test_hand_written_loops_agree():
    random = np.random.default_rng(1)
    pixels, picture = random.integers(0, 256, (2, 3, 7, 9, 3), dtype=np.uint8)
    mask = random.uniform(size=(3, 7, 9, 1)).astype(np.float32)
    error, hole = picture.astype(int) - pixels, mask[..., 0] >= 0.5
    sums, counts = [0] * 3, [0] * 3
    for b, y, x in np.ndindex(3, 7, 9):
        for v, u in ((y + 1, x), (y, x + 1)):
            if v < 7 and u < 9 and hole[b, y, x] != hole[b, v, u]:
                sums[b] += np.abs(error[b, y, x] - error[b, v, u]).sum()
                counts[b] += 3
    seam = measure(pixels, picture, mask, np.array([True] * 3))
    assert (seam.sums.tolist(), seam.counts.tolist()) == ([int(one) for one in sums], counts)

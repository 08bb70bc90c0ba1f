import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.metrics.pre_error import PreError, float_error_sums, squared_error_sums
from asym_jax.metrics.quantise import quantise

ALL = np.array([True, True])


def batch():
    """Two pictures of 4x4: the first keeps its upper half, the second nothing."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    mask = np.ones((2, 4, 4, 1), np.float32)
    mask[0, :2] = 0
    return pixels, mask


def measure(pixels, reconstruction, mask, valid=ALL) -> PreError:
    sums = jax.jit(squared_error_sums)(jnp.asarray(pixels), jnp.asarray(reconstruction), jnp.asarray(mask))
    return PreError.of(sums, valid)


def test_by_pencil_and_blind_to_the_hole():
    pixels, mask = batch()
    reconstruction = np.where(mask == 1, 255 - pixels, pixels)  # every pixel of the hole is far off
    assert measure(pixels, reconstruction, mask).pooled() == 0
    pixels[0, 0, 0] = [0, 255, 7]
    reconstruction[0, 0, 0] = [255, 0, 10]
    error = measure(pixels, reconstruction, mask)
    # 255^2 + 255^2 + 3^2 over 2 * 4 * 3 kept values
    np.testing.assert_allclose(error.pooled(), 4 / 255**2 * (2 * 255**2 + 9) / 24, rtol=1e-15)
    assert (error.images, error.skipped) == (1, 1)


def test_pooling_and_averaging_differ():
    pixels = np.zeros((2, 2, 2, 3), np.uint8)
    reconstruction = np.stack([pixels[0] + 1, pixels[0] + 2])
    mask = np.zeros((2, 2, 2, 1), np.float32)
    mask[1].flat[:3] = [0.5, 1, 0.51]  # one pixel is kept; half a mask is hole
    error = measure(pixels, reconstruction, mask)
    np.testing.assert_allclose(error.pooled(), 4 / 255**2 * (4 * 1 + 1 * 4) / 5, rtol=1e-15)
    np.testing.assert_allclose(error.mean_of_ratios(), 4 / 255**2 * (1 + 4) / 2, rtol=1e-15)


def test_the_largest_error_of_a_large_picture_is_exact():
    black = np.zeros((1, 512, 512, 3), np.uint8)  # 255^2 * 3 * 512^2 does not fit into 32 bits
    error = measure(black, black + 255, black[..., :1].astype(np.float32), valid=ALL[:1])
    assert error.errors.tolist() == [255**2 * 3 * 512**2]
    assert error.pooled() == error.mean_of_ratios() == 4.0


def test_neither_order_nor_padding_matters():
    random = np.random.default_rng(1)
    rows = [random.integers(0, 256, (2, 3, 3, 3), dtype=np.uint8) for _ in range(4)]
    parts = [
        measure(p, p[::-1], (random.random((2, 3, 3, 1)) > 0.5).astype(np.float32), np.array([True, i != 2]))
        for i, p in enumerate(rows)
    ]
    totals = set()
    for first, *others in itertools.permutations(parts):
        for other in others:
            first = first.merge(other)
        totals.add((first.pooled(), first.mean_of_ratios(), len(first.kept)))
    assert len(totals) == 1 and totals.pop()[2] == 7


def test_nothing_kept_gives_no_number():
    pixels, mask = batch()
    error = measure(pixels, pixels, np.ones_like(mask))
    assert (error.pooled(), error.mean_of_ratios(), error.skipped) == (None, None, 2)
    assert error.over_all_pixels(16) == 0


def test_over_all_pixels_by_pencil():
    """Two pictures of 4x4: two pixels are kept and 3 off in the first, the second is all hole."""
    pixels = np.zeros((2, 4, 4, 3), np.uint8)
    mask = np.ones((2, 4, 4, 1), np.float32)
    mask[0, 0, :2] = 0
    error = measure(pixels, pixels + 3, mask)
    np.testing.assert_allclose(error.pooled(), 4 / 255**2 * 9, rtol=1e-15)
    np.testing.assert_allclose(error.over_all_pixels(16), 4 / 255**2 * 9 * 2 / 32, rtol=1e-15)


def measure_floats(pixels, images, mask, valid=ALL) -> PreError:
    sums = jax.jit(float_error_sums)(jnp.asarray(pixels), jnp.asarray(images), jnp.asarray(mask))
    return PreError.of(sums, valid)


def test_pictures_that_were_not_rounded():
    pixels, mask = batch()
    images = pixels / np.float32(127.5) - 1
    off = np.where(mask == 1, 7, images + np.float32(0.25) / 255).astype(np.float32)  # an eighth of a level of 2/255
    error = measure_floats(pixels, off, mask)
    kept = np.clip(off[0, :2], -1, 1).astype(np.float64) - (pixels[0, :2] / 127.5 - 1)
    np.testing.assert_allclose(error.pooled(), np.mean(kept**2), rtol=1e-3)
    assert (error.images, error.skipped) == (1, 1)
    assert measure(pixels, np.asarray(quantise(jnp.asarray(off))), mask).pooled() == 0  # a file would not show it
    with pytest.raises(ValueError, match="cannot be put together"):
        error.merge(measure(pixels, pixels, mask))


def test_values_beyond_white_are_white():
    white = np.full((1, 2, 2, 3), 255, np.uint8)
    error = measure_floats(white, np.full((1, 2, 2, 3), 1.7, np.float32), np.zeros((1, 2, 2, 1), np.float32), ALL[:1])
    assert error.pooled() < 1e-12


def test_what_truncation_alone_costs():
    """A perfect decoder whose script casts to uint8: 4/3 / 255^2 in [-1, 1], the order of the paper's best values."""
    images = np.random.default_rng(2).uniform(-1, 1, (1, 256, 256, 3)).astype(np.float32)
    floored = np.asarray(quantise(jnp.asarray(images), "floor"))
    error = measure_floats(floored, images, np.zeros((1, 256, 256, 1), np.float32), ALL[:1])
    np.testing.assert_allclose(error.pooled(), 2.05e-5, rtol=0.01)

"""Minimal filtering against direct sums in float64, by numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.models.convolutions import schemes
from asym_jax.models.convolutions.bilinear import Scheme, filtered

SAME = [("same", schemes.SAME_SMALL, 1e-6), ("same", schemes.SAME_LARGE, 1e-5)]
HALVED = [("halved", schemes.HALVED_SMALL, 1e-6), ("halved", schemes.HALVED_LARGE, 1e-6)]
DOUBLED = [("doubled", schemes.DOUBLED_SMALL, 1e-6), ("doubled", schemes.DOUBLED_LARGE, 1e-5)]
ALL = SAME + HALVED + DOUBLED
SIZES = [(8, 12), (7, 9), (3, 2)]


def direct(kind: str, inputs: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """One output after another, as a convolution is defined."""
    padded, places = windows(kind, inputs, kernel)
    result = np.stack([np.einsum("bijc,ijco->bo", padded[:, rows, columns], kernel) for rows, columns in places.values()], axis=1)
    high, wide = (1 + last for last in max(places))
    return result.reshape(len(inputs), high, wide, -1)


def direct_gradients(kind: str, inputs: np.ndarray, kernel: np.ndarray, cotangent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of <direct(inputs, kernel), cotangent>: each output gives its share to what it was made of."""
    padded, places = windows(kind, inputs, kernel)
    to_padded, to_kernel = np.zeros_like(padded), np.zeros_like(kernel)
    for (i, j), (rows, columns) in places.items():
        to_padded[:, rows, columns] += np.einsum("ijco,bo->bijc", kernel, cotangent[:, i, j])
        to_kernel += np.einsum("bijc,bo->ijco", padded[:, rows, columns], cotangent[:, i, j])
    to_inputs = to_padded[:, 1:-1, 1:-1]
    if kind == "doubled":
        to_inputs = sum(to_inputs[:, i::2, j::2] for i in (0, 1) for j in (0, 1))
    return to_inputs, to_kernel


def windows(kind: str, inputs: np.ndarray, kernel: np.ndarray) -> tuple[np.ndarray, dict[tuple[int, int], tuple[slice, slice]]]:
    """The (doubled and) padded pictures, and what each output sees of them."""
    if kind == "doubled":
        inputs = inputs.repeat(2, axis=1).repeat(2, axis=2)
    stride = 2 if kind == "halved" else 1
    taps = kernel.shape[0]
    padded = np.pad(inputs, ((0, 0), (1, 1), (1, 1), (0, 0)))
    high, wide = ((side - taps) // stride + 1 for side in padded.shape[1:3])
    span = lambda first: slice(first * stride, first * stride + taps)  # noqa: E731
    return padded, {(i, j): (span(i), span(j)) for i in range(high) for j in range(wide)}


def drawn(kind: str, size: tuple[int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    taps = 4 if kind == "halved" else 3
    return rng.normal(size=(2, *size, 6)), rng.normal(size=(taps, taps, 6, 5))


def relative(found: jax.Array, expected: np.ndarray) -> float:
    return float(np.abs(np.asarray(found, np.float64) - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("kind", "scheme", "bound"), ALL)
def test_equals_the_direct_sum(kind: str, scheme: Scheme, bound: float, size):
    inputs, kernel = drawn(kind, size)
    found = jax.jit(filtered, static_argnums=0)(scheme, jnp.float32(inputs), jnp.float32(kernel))
    expected = direct(kind, inputs, kernel)
    assert found.shape == expected.shape
    assert relative(found, expected) < bound


@pytest.mark.parametrize("size", SIZES[1:3], ids=str)
@pytest.mark.parametrize(("kind", "scheme", "bound"), ALL)
def test_gradients_are_those_of_the_direct_sum(kind: str, scheme: Scheme, bound: float, size):
    inputs, kernel = drawn(kind, size)
    cotangent = np.random.default_rng(1).normal(size=direct(kind, inputs, kernel).shape)

    @jax.jit
    def gradients(inputs: jax.Array, kernel: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.vjp(lambda *both: filtered(scheme, *both), inputs, kernel)[1](cotangent)

    found_inputs, found_kernel = gradients(*map(jnp.float32, (inputs, kernel, cotangent)))
    expected_inputs, expected_kernel = direct_gradients(kind, inputs, kernel, cotangent)
    assert relative(found_inputs, expected_inputs) < bound
    assert relative(found_kernel, expected_kernel) < bound


@pytest.mark.parametrize(("kind", "scheme", "bound"), ALL)
def test_rounding_stays_small_over_many_channels_of_unequal_size(kind: str, scheme: Scheme, bound: float):
    """As in trained decoders, where few channels are a hundred times larger than the rest."""
    rng = np.random.default_rng(2)
    taps = 4 if kind == "halved" else 3
    scales = np.where(rng.uniform(size=128) < 0.05, 100.0, 1.0)
    inputs = rng.normal(size=(1, 12, 12, 128)) * scales
    kernel = rng.normal(size=(taps, taps, 128, 4)) / (taps * 128**0.5)
    found = jax.jit(filtered, static_argnums=0)(scheme, jnp.float32(inputs), jnp.float32(kernel))
    assert relative(found, direct(kind, inputs, kernel)) < bound


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_broken_picture_leaves_the_others_alone(bad):
    inputs, kernel = (jnp.float32(array) for array in drawn("same", (8, 12)))
    inputs = jnp.concatenate([inputs, inputs])
    convolve = jax.jit(lambda inputs: filtered(schemes.SAME_LARGE, inputs, kernel))
    found = convolve(inputs.at[0, 0, 0, 0].set(bad))
    half = len(inputs) // 2
    np.testing.assert_array_equal(found[half:], convolve(inputs)[half:])
    assert not np.isfinite(found[0]).all()


def test_products_that_are_saved():
    """Products per output along one axis, by pencil: 3 taps directly, or 4 of stride 2."""
    per_output = {
        name: len(scheme.data) * scheme.phases / len(scheme.result)
        for name, scheme in vars(schemes).items()
        if name.isupper() and isinstance(scheme, Scheme)
    }
    assert per_output == {
        "SAME_SMALL": 4 / 2,
        "SAME_LARGE": 6 / 4,
        "HALVED_SMALL": 2 * 3 / 2,
        "HALVED_LARGE": 2 * 4 / 3,
        "DOUBLED_SMALL": 3 / 2,
        "DOUBLED_LARGE": 5 / 4,
    }


def test_matrices_of_the_smallest_tile_by_pencil():
    """F(2, 2) with the points 0 and 1: y0 = d0 g0 + d1 g1, y1 = d1 g0 + d2 g1."""
    data, kernel, result = schemes.cook_toom((0, 1), outputs=2, taps=2)
    assert data == ((-1, 1, 0), (0, 1, 0), (0, -1, 1))
    assert kernel == ((-1, 0), (1, 1), (0, 1))
    assert result == ((1, 1, 0), (0, 1, 1))


def test_matrices_are_exact_for_any_points():
    """In integers: an impulse as window, an impulse as kernel, one output or none."""
    data, kernel, result = (np.array(matrix) for matrix in schemes.cook_toom((0, 1, -2, 3), outputs=3, taps=3))
    for sample, tap in np.ndindex(5, 3):
        found = result @ (kernel[:, tap] * data[:, sample])
        np.testing.assert_allclose(found, [sample == output + tap for output in range(3)], atol=1e-12)

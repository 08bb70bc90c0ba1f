import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.metrics.quantise import quantise


def row(values):
    return jnp.asarray(np.repeat(np.asarray(values, np.float32)[None, None, :, None], 3, axis=3))


def test_by_pencil():
    values = row([-1.5, -1.0, -1 + 2 * 0.6 / 255, 0.0, 1 - 2 * 0.4 / 255, 1.0, 7.0])
    np.testing.assert_array_equal(quantise(values, "round")[0, 0, :, 0], [0, 0, 1, 128, 255, 255, 255])
    np.testing.assert_array_equal(quantise(values, "floor")[0, 0, :, 0], [0, 0, 0, 127, 254, 255, 255])


def test_every_level_survives_rounding():
    levels = np.arange(256)
    np.testing.assert_array_equal(quantise(row(levels / 127.5 - 1))[0, 0, :, 2], levels)


@pytest.mark.parametrize(("how", "cost"), [("floor", 2.05e-5), ("round", 5.13e-6)])
def test_cost_in_squared_error(how, cost):
    """4 / 255^2 times the mean square of U(0, 1), or of U(-1/2, 1/2)."""
    images = np.random.default_rng(0).uniform(-1, 1, (1, 256, 256, 3)).astype(np.float32)
    restored = np.asarray(quantise(jnp.asarray(images), how)) / 127.5 - 1
    np.testing.assert_allclose(np.mean((restored - images) ** 2), cost, rtol=0.01)

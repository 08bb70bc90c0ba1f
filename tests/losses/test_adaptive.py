import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.losses.adaptive import adaptive_weight

pytestmark = pytest.mark.usefixtures("strict_dtypes")

THREE_FOUR = jnp.array([3.0, 0.0, 4.0]).reshape(1, 1, 3, 1)  # norm 5
EIGHT_SIX = jnp.array([8.0, 6.0, 0.0]).reshape(1, 1, 3, 1)  # norm 10


def test_ratio_of_norms():
    np.testing.assert_allclose(adaptive_weight(THREE_FOUR, EIGHT_SIX, factor=0.8, maximum=1e4), 0.8 * 5 / 10.0001, rtol=1e-6)


def test_bound_comes_before_the_factor():
    np.testing.assert_allclose(adaptive_weight(THREE_FOUR, jnp.zeros((1, 1, 3, 1)), factor=0.8, maximum=1e4), 8e3, rtol=1e-6)


@pytest.mark.parametrize("adversarial_scale", [1.0, 1e-9])  # without and with the bound at work
def test_losses_averaged_over_pixels_need_a_smaller_bound(adversarial_scale):
    values = 3 * 256 * 256
    summed = adaptive_weight(THREE_FOUR, adversarial_scale * EIGHT_SIX, factor=0.8, maximum=1e4)
    averaged = adaptive_weight(THREE_FOUR / values, adversarial_scale * EIGHT_SIX, factor=0.8, maximum=1e4 / values)
    np.testing.assert_allclose(averaged * values, summed, rtol=1e-5)


def test_it_is_a_constant_even_where_the_norm_has_no_slope():
    gradient = jax.grad(lambda g: adaptive_weight(g, g, factor=0.8, maximum=1e4))(jnp.zeros((1, 1, 3, 1)))
    np.testing.assert_array_equal(gradient, 0)

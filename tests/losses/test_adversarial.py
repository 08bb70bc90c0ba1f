import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.losses.adversarial import critic_hinge, decoder_loss

pytestmark = pytest.mark.usefixtures("strict_dtypes")

REAL = jnp.array([2.0, 0.5, -1.0, 1.0]).reshape(2, 2, 1, 1)
FAKE = jnp.array([-2.0, 0.0, 1.0, -1.5]).reshape(2, 2, 1, 1)


def test_critic_by_pencil():
    # relu(1 - real) = 0, .5, 2, 0 and relu(1 + fake) = 0, 1, 2, 0
    np.testing.assert_allclose(critic_hinge(REAL, FAKE), 0.5 * (2.5 / 4 + 3 / 4))
    on_real, on_fake = jax.grad(critic_hinge, argnums=(0, 1))(REAL, FAKE)
    np.testing.assert_allclose(on_real.ravel(), [0, -1 / 8, -1 / 8, 0])
    np.testing.assert_allclose(on_fake.ravel(), [0, 1 / 8, 1 / 8, 0])


def test_decoder_by_pencil():
    np.testing.assert_allclose(decoder_loss(FAKE), 2.5 / 4)

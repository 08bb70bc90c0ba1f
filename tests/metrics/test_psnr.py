import jax
import jax.numpy as jnp
import numpy as np
from skimage.metrics import peak_signal_noise_ratio

from asym_jax.metrics.psnr import psnr
from tests.metrics.pictures import pair


def test_agrees_with_scikit_image():
    original, damaged = pair()
    expected = [peak_signal_noise_ratio(a, b) for a, b in zip(original, damaged, strict=True)]
    np.testing.assert_allclose(jax.jit(psnr)(jnp.asarray(original), jnp.asarray(damaged)), expected, atol=1e-4)


def test_equal_pictures_are_infinitely_good():
    original = jnp.asarray(pair()[0])
    damaged = original.at[1, 0, 0, 0].add(1)  # one level at one of 40 * 51 * 3 values
    np.testing.assert_allclose(psnr(original, damaged), [np.inf, 20 * np.log10(255) + 10 * np.log10(40 * 51 * 3)], rtol=1e-6)

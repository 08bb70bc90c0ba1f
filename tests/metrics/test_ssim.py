import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from asym_jax.metrics import ssim as variants
from tests.metrics.pictures import pair

ssim, ssim_lama = jax.jit(variants.ssim), jax.jit(variants.ssim_lama)


def test_ssim_agrees_with_scikit_image():
    original, damaged = pair()
    options = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=-1)
    expected = [structural_similarity(a, b, **options) for a, b in zip(original, damaged, strict=True)]
    np.testing.assert_allclose(ssim(jnp.asarray(original), jnp.asarray(damaged)), expected, atol=1e-5)


def test_ssim_lama_agrees_with_a_zero_padded_convolution():
    torch = pytest.importorskip("torch")
    bell = torch.exp(-((torch.arange(11.0, dtype=torch.float64) - 5) ** 2) / 4.5)
    window = torch.outer(bell, bell) / bell.sum() ** 2

    def blur(values):
        return torch.nn.functional.conv2d(values, window.expand(3, 1, 11, 11), padding=5, groups=3)

    original, damaged = pair()
    a, b = (torch.from_numpy(pixels.transpose(0, 3, 1, 2) / 255.0) for pixels in (original, damaged))
    mean_a, mean_b = blur(a), blur(b)
    covariance = blur(a * b) - mean_a * mean_b
    variances = blur(a * a) - mean_a**2 + blur(b * b) - mean_b**2
    luminance = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
    expected = (luminance * (2 * covariance + 9e-4) / (variances + 9e-4)).mean((1, 2, 3)).numpy()

    got = ssim_lama(jnp.asarray(original), jnp.asarray(damaged))
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert np.all(np.abs(got - ssim(jnp.asarray(original), jnp.asarray(damaged))) > 1e-3)  # they are not the same metric


@pytest.mark.parametrize("metric", [ssim, ssim_lama])
def test_equal_pictures_are_perfect(metric):
    original = jnp.asarray(pair()[0])
    np.testing.assert_allclose(metric(original, original), 1.0, atol=1e-6)


def test_flat_pictures_by_pencil():
    white, grey = (jnp.full((2, 40, 51, 3), level, jnp.uint8) for level in (255, 51))
    # means 1 and 0.2, no variance: only the luminance term is left
    np.testing.assert_allclose(ssim(white, grey), [(0.4 + 1e-4) / (1.04 + 1e-4)] * 2, rtol=1e-6)


def test_pictures_smaller_than_the_window_are_refused():
    with pytest.raises(ValueError, match="at least 11 pixels"):
        ssim(jnp.zeros((1, 10, 64, 3), jnp.uint8), jnp.zeros((1, 10, 64, 3), jnp.uint8))

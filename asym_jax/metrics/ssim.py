"""Structural similarity (Wang et al. 2004) in two variants that must not be mixed: they differ in the second digit.

Both compare Gaussian-weighted means, variances and covariances in 11x11 windows
(sigma 1.5), per colour channel, and average the map over channels and positions.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from asym_jax.arrays import Features, NewFeatures, PerImage, Pixels

RADIUS = 5
SIGMA = 1.5
# (0.01 L)^2 and (0.03 L)^2 of the paper, for pictures scaled to L = 1.
C1, C2 = 0.01**2, 0.03**2


def ssim(pixels: Pixels, reconstruction: Pixels) -> PerImage:
    """Only windows that lie inside the picture, as in the paper; 1 for equal pictures.

    The same as scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, data_range=255, channel_axis=-1)`. Raises
    ValueError if a side is below 11 pixels.
    """
    if min(pixels.shape[1:3]) <= 2 * RADIUS:
        raise ValueError(f"ssim needs pictures of at least {2 * RADIUS + 1} pixels a side; these have shape {pixels.shape}")
    return _similarity(_unit_range(pixels), _unit_range(reconstruction))


def ssim_lama(pixels: Pixels, reconstruction: Pixels) -> PerImage:
    """As LaMa's evaluator has it: a window around every pixel, with zeros beyond the border."""
    border = ((0, 0), (RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0))
    return _similarity(jnp.pad(_unit_range(pixels), border), jnp.pad(_unit_range(reconstruction), border))


class _Moments(NamedTuple):
    """Statistics of two pictures in windows around, or starting at, each position."""

    mean_a: NewFeatures
    mean_b: NewFeatures
    variances: NewFeatures  # their sum, all that the formula needs
    covariance: NewFeatures


def _similarity(a: Features, b: Features) -> PerImage:
    pixels = _Moments(a, b, jnp.zeros_like(a), jnp.zeros_like(a))
    mean_a, mean_b, variances, covariance = _widen(_widen(pixels, axis=1), axis=2)
    luminance = (2 * mean_a * mean_b + C1) / (mean_a * mean_a + mean_b * mean_b + C1)
    return jnp.mean(luminance * (2 * covariance + C2) / (variances + C2), axis=(1, 2, 3))


def _widen(moments: _Moments, *, axis: int) -> _Moments:
    """Merges every 11 neighbours along one axis by the law of total variance.

    Differences are taken before they are squared: E[x^2] - E[x]^2 in float32 is off
    by more than flat parts of a picture can bear. And sums of shifted copies, unlike
    a convolution, are not rounded to fewer bits by any accelerator.
    """
    bell = [math.exp(-0.5 * (offset / SIGMA) ** 2) for offset in range(-RADIUS, RADIUS + 1)]
    weights = [value / sum(bell) for value in bell]
    length = moments.mean_a.shape[axis] - 2 * RADIUS
    shifted = [_Moments(*(lax.slice_in_dim(field, i, i + length, axis=axis) for field in moments)) for i in range(len(weights))]
    mean_a = sum(weight * part.mean_a for weight, part in zip(weights, shifted, strict=True))
    mean_b = sum(weight * part.mean_b for weight, part in zip(weights, shifted, strict=True))
    variances, covariance = jnp.zeros_like(mean_a), jnp.zeros_like(mean_a)
    for weight, part in zip(weights, shifted, strict=True):
        from_a, from_b = part.mean_a - mean_a, part.mean_b - mean_b
        variances += weight * (part.variances + from_a * from_a + from_b * from_b)
        covariance += weight * (part.covariance + from_a * from_b)
    return _Moments(mean_a, mean_b, variances, covariance)


def _unit_range(pixels: Pixels) -> Features:
    return pixels.astype(jnp.float32) / 255

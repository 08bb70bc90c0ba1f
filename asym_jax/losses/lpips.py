"""LPIPS, the learned perceptual distance (Zhang et al. 2018, arXiv 1801.03924), version 0.1 over VGG16.

For two pictures: unit-normalise the activations of each position, weight the
squared differences per channel, average over positions, sum over five layers.

The training code of the reference also drops half of the squared differences at
random, by accident: its framework switches the whole model to training mode,
this loss included. The expectation is the same; here nothing is dropped.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from asym_jax.arrays import Features, Images, Params, PerImage, Pyramid
from asym_jax.models.vgg import VGG16

# ImageNet's channel means and deviations, moved from [0, 1] to [-1, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)

EPSILON = 1e-10
"""Added to the norm (not under the root) of each position's activations."""

Heads = tuple[Float[Array, " _"], ...]
"""One weight per channel for each of the five layers, none of them negative."""


def lpips(
    vgg: Params,
    heads: Heads,
    a: Images,
    b: Images,
    *,
    precision: jax.lax.Precision = jax.lax.Precision.HIGHEST,
) -> PerImage:
    """The distance of each pair of pictures in [-1, 1], at least 16 pixels a side; 0 for equal ones.

    Values and gradients agree with the official package (tests/losses/test_lpips.py).
    `vgg` is the tree of `VGG16`, and `precision` its attribute.
    """
    return lpips_distance(heads, lpips_features(vgg, a, precision=precision), lpips_features(vgg, b, precision=precision))


def lpips_features(vgg: Params, images: Images, *, precision: jax.lax.Precision = jax.lax.Precision.HIGHEST) -> Pyramid:
    """Unit-normalised activations: the half of LPIPS that depends on one picture only."""
    shift, scale = (jnp.array(values, jnp.float32).reshape(1, 1, 1, 3) for values in (SHIFT, SCALE))
    taps = VGG16(precision=precision).apply({"params": vgg}, (images - shift) / scale)
    return [unit_length(features) for features in taps]


def lpips_distance(heads: Heads, a: Pyramid, b: Pyramid) -> PerImage:
    """The half of LPIPS that compares what `lpips_features` gave for two batches."""
    layers = []
    for head, left, right in zip(heads, a, b, strict=True):
        weighted = head.reshape(1, 1, 1, -1) * jnp.square(left - right)
        layers.append(jnp.sum(weighted, axis=-1).mean(axis=(1, 2)))
    return sum(layers[1:], layers[0])


def unit_length(features: Features) -> Features:
    """Divides by the norm over channels; positions without any activation stay zero, with a finite gradient."""
    squares = jnp.sum(jnp.square(features), axis=-1, keepdims=True)
    alive = squares > 0
    # The root's slope at 0 is infinite, and 0 * inf = NaN in the gradient; hence the inner `where` as well.
    norm = jnp.where(alive, jnp.sqrt(jnp.where(alive, squares, 1.0)), 0.0)
    return features / (norm + EPSILON)

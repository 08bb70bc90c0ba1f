"""LPIPS over VGG16 as a loss: the distance that training takes gradients of.

The training code of the reference also drops half of the squared differences at
random, by accident: its framework switches the whole model to training mode,
this loss included. The expectation is the same; here nothing is dropped.
"""

import jax

from asym_jax.arrays import Images, Params, PerImage, Pyramid
from asym_jax.models.lpips import Heads, activations, lpips_distance


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
    return activations("vgg", vgg, images, precision=precision)

"""LPIPS over VGG16 as a loss: the distance that training takes gradients of.

The training code of the reference also drops half of the squared differences at
random, by accident: its framework switches the whole model to training mode,
this loss included. The expectation is the same; here nothing is dropped.
"""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from asym_jax.arrays import Images, Params, PerImage
from asym_jax.models.lpips import Heads, activations, lpips_distance


def lpips(
    vgg: Params,
    heads: Heads,
    a: Images,
    b: Images,
    *,
    precision: jax.lax.Precision = jax.lax.Precision.HIGHEST,
    dtype: DTypeLike = jnp.float32,
) -> PerImage:
    """The distance of each pair of pictures in [-1, 1], at least 16 pixels a side; 0 for equal ones.

    Values and gradients agree with the official package (tests/losses/test_lpips.py).
    `vgg` is the tree of `VGG16`, and `precision` and `dtype` are its attributes; distances are float32 whatever they are.
    """
    a_seen, b_seen = (activations("vgg", vgg, images, precision=precision, dtype=dtype) for images in (a, b))
    return lpips_distance(heads, a_seen, b_seen)

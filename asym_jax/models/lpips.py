"""LPIPS, the learned perceptual distance (Zhang et al. 2018, arXiv 1801.03924), version 0.1 over VGG16 or AlexNet.

For two pictures: unit-normalise the activations of each position, weight the
squared differences per channel, average over positions, sum over five layers.
The distances of the two networks are different numbers; say which one was used.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from asym_jax.arrays import Features, Images, Params, PerImage, Pyramid
from asym_jax.models.alexnet import AlexNet
from asym_jax.models.vgg import VGG16

# ImageNet's channel means and deviations, moved from [0, 1] to [-1, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)

EPSILON = 1e-10
"""Added to the norm (not under the root) of each position's activations."""

Heads = tuple[Float[Array, " _"], ...]
"""One weight per channel for each of the five layers, none of them negative."""

Trunk = Literal["vgg", "alex"]
"""The network whose activations are compared; the names are those of the official package."""

TRUNKS = {"vgg": VGG16, "alex": AlexNet}


def activations(
    trunk: Trunk,
    params: Params,
    images: Images,
    *,
    precision: jax.lax.Precision = jax.lax.Precision.HIGHEST,
    dtype: DTypeLike = jnp.float32,
) -> Pyramid:
    """Unit-normalised activations of pictures in [-1, 1]: the half of LPIPS that depends on one picture only.

    `params` is the tree of `VGG16` or `AlexNet`, and `precision` and `dtype` are its attributes. The result is float32.
    Raises ValueError for pictures that are too small for the network.
    """
    shift, scale = (jnp.array(values, jnp.float32).reshape(1, 1, 1, 3) for values in (SHIFT, SCALE))
    taps = TRUNKS[trunk](precision=precision, dtype=dtype).apply({"params": params}, (images - shift) / scale)
    return [unit_length(features.astype(jnp.float32)) for features in taps]


def lpips_distance(heads: Heads, a: Pyramid, b: Pyramid) -> PerImage:
    """The half of LPIPS that compares what `activations` gave for two batches."""
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

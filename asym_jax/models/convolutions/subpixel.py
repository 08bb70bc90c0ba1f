"""Repeating pixels and convolving as one step: a smaller convolution for each of the four new pixels."""

import jax
import jax.numpy as jnp

from asym_jax.arrays import Features, NewFeatures
from asym_jax.models.convolutions.bilinear import Kernel


def doubled_by_phases(inputs: Features, kernel: Kernel, *, precision: jax.lax.PrecisionLike = None) -> NewFeatures:
    """What a 3x3 convolution gives of pictures whose pixels are each repeated 2x2, in four 2x2 convolutions.

    Of three neighbouring taps two always fall on the same original pixel, so their weights can be added first:
    16 products per original pixel and channel instead of 36. Best given a float32 kernel whatever the inputs are:
    sums are then rounded once, to the type of the inputs.
    """
    phases = [[_phase(inputs, kernel, i, j, precision) for j in (0, 1)] for i in (0, 1)]
    b, height, width, channels = phases[0][0].shape
    rows = jnp.stack([jnp.stack(row, axis=3) for row in phases], axis=2)
    return rows.reshape(b, 2 * height, 2 * width, channels)


def _phase(inputs: Features, kernel: Kernel, i: int, j: int, precision: jax.lax.PrecisionLike) -> NewFeatures:
    """The lower (`i` = 1) or upper, right (`j` = 1) or left one of every four new pixels."""
    return jax.lax.conv_general_dilated(
        inputs,
        _folded(_folded(kernel, 0, i), 1, j).astype(inputs.dtype),
        window_strides=(1, 1),
        padding=((1 - i, i), (1 - j, j)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )


def _folded(kernel: jax.Array, axis: int, phase: int) -> jax.Array:
    """Three taps as two: the first new pixel sees its original last, the second sees it first."""
    first, middle, last = (jax.lax.slice_in_dim(kernel, i, i + 1, axis=axis) for i in range(3))
    return jnp.concatenate([first + middle, last] if phase else [first, middle + last], axis)

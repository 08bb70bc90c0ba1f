"""Which form a convolution takes, by its shape and by what it runs on.

On a CPU in float32, minimal filtering (`bilinear`) wherever it was measured to be faster (docs/performance.md); elsewhere
the direct sum, and for doubled pictures `subpixel`. Tensor cores do direct sums faster than anything
could do the transforms around fewer products.
"""

import contextlib
import contextvars
import os
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array

from asym_jax.arrays import Features, NewFeatures
from asym_jax.errors import InputError
from asym_jax.models.convolutions import schemes
from asym_jax.models.convolutions.bilinear import Kernel, Scheme, filtered
from asym_jax.models.convolutions.subpixel import doubled_by_phases

Filtering = Literal["off", "small", "large"]
"""The largest tiles of minimal filtering that may be used."""

VARIABLE = "ASYM_JAX_FILTERING"
"""Environment variable that holds a `Filtering`; read when a program is traced."""

FEWEST_CHANNELS = 128
"""Below, transforming tiles costs more than the products that it saves."""

ONE_PIXEL = ((1, 1), (1, 1))

_most: contextvars.ContextVar[Filtering] = contextvars.ContextVar("most", default="large")


@contextlib.contextmanager
def at_most(tiles: Filtering) -> Iterator[None]:
    """What is traced inside uses no larger tiles; also a decorator."""
    before = _most.set(tiles)
    try:
        yield
    finally:
        _most.reset(before)


def convolve(
    inputs: Features,
    kernel: Array,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    *,
    precision: jax.lax.PrecisionLike = None,
    **others: object,
) -> NewFeatures:
    """The convolution that `jax.lax.conv_general_dilated` gives for the same arguments (NHWC, HWIO), up to rounding.

    Whoever asks for a precision gets the direct sum.
    """
    height, width = kernel.shape[:2]
    places = inputs.shape[0] * inputs.shape[1] * inputs.shape[2] // (strides[0] * strides[1])
    pair = {
        (3, 3, 1, 1): (schemes.SAME_SMALL, schemes.SAME_LARGE),
        (4, 4, 2, 2): (schemes.HALVED_SMALL, schemes.HALVED_LARGE),
    }.get((height, width, *strides))
    if pair and precision is None and tuple(padding) == ONE_PIXEL and (scheme := _scheme(*pair, inputs, kernel, places)):
        return filtered(scheme, inputs, kernel)
    return jax.lax.conv_general_dilated(inputs, kernel, strides, padding, precision=precision, **others)


def convolve_doubled(
    inputs: Features,
    kernel: Kernel,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    *,
    precision: jax.lax.PrecisionLike = None,
    **others: object,
) -> NewFeatures:
    """Doubles height and width by repeating every pixel, then convolves 3x3; the doubled pixels never exist.

    The kernel may be of higher precision than the inputs.

    Raises ValueError for any other convolution than one of 3x3 taps, stride 1 and one pixel of padding.
    """
    if kernel.shape[:2] != (3, 3) or tuple(strides) != (1, 1) or tuple(padding) != ONE_PIXEL:
        raise ValueError(f"only 3x3, stride 1, padding 1: got {kernel.shape[:2]}, {strides}, {padding}")
    places = inputs.shape[0] * inputs.shape[1] * inputs.shape[2]
    if precision is None and (scheme := _scheme(schemes.DOUBLED_SMALL, schemes.DOUBLED_LARGE, inputs, kernel, places)):
        return filtered(scheme, inputs, kernel)
    return doubled_by_phases(inputs, kernel, precision=precision)


def _scheme(small: Scheme, large: Scheme, inputs: Features, kernel: Kernel, places: int) -> Scheme | None:
    """The faster one for these shapes, or None for neither."""
    allowed = _allowed()
    channels = min(kernel.shape[2:])
    if allowed == "off" or jax.default_backend() != "cpu" or inputs.dtype != jnp.float32 or channels < FEWEST_CHANNELS:
        return None
    # Large tiles make more products of the kernel, which pays where there are many places to use them.
    if allowed == "large" and places >= 4 * channels:
        return large
    return small if places >= channels // 2 else None


def _allowed() -> Filtering:
    sizes = get_args(Filtering)
    value = os.environ.get(VARIABLE, "large")
    if value not in sizes:
        raise InputError(f"{VARIABLE}={value!r}: give one of {', '.join(sizes)}")
    return min(value, _most.get(), key=sizes.index)

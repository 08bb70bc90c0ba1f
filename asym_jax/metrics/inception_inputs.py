"""From pictures as files store them to what Inception sees, in three ways that must not be mixed.

All stretch to 299x299 pixels whatever the aspect, and give different FIDs:

    legacy_pytorch  pytorch-fid and LaMa's evaluator; the FID of the paper's inpainting tables. Bilinear,
                    half-pixel centres, no smoothing when shrinking; then v / 127.5 - 1
    tf              TTUR and torch-fidelity; FID and Inception Score of text-to-image. TensorFlow 1's
                    bilinear rule, which samples at i * in / out; then (v - 128) / 128
    clean           clean-fid (Parmar et al. 2022). Pillow's bicubic filter, which smooths when shrinking,
                    clipped to 0..255; then (v - 128) / 128

Each resize is two products with small matrices that are made on the host.
"""

import functools
import math
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from asym_jax.arrays import Pixels
from asym_jax.models.inception import SIDE

Mode = Literal["legacy_pytorch", "tf", "clean"]
MODES: tuple[Mode, ...] = get_args(Mode)

Matrix = Float[np.ndarray, "new old"]


def inception_inputs(pixels: Pixels, mode: Mode, *, side: int = SIDE) -> Float[Array, "b {side} {side} 3"]:
    """What the network is given for pictures in 0..255; of any other `side` than 299 nothing is comparable."""
    rows, columns = (jnp.asarray(resizing(mode, old, side), jnp.float32) for old in pixels.shape[1:3])
    # Columns first: Pillow keeps float32 between the two passes in this order.
    exact = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    resized = exact("yh,bhxc->byxc", rows, exact("xw,bhwc->bhxc", columns, pixels.astype(jnp.float32)))
    if mode == "legacy_pytorch":
        return resized / 127.5 - 1
    if mode == "clean":
        resized = jnp.clip(resized, 0.0, 255.0)
    return (resized - 128) / 128


@functools.cache
def resizing(mode: Mode, old: int, new: int) -> Matrix:
    """The matrix that turns a row of `old` pixels into one of `new`; its rows sum to 1."""
    if mode == "clean":
        return smoothing(old, new)
    # Places in float32, as both packages compute them; in float64 a pixel would be off by a hundredth of a grey level.
    scale = np.float32(old / new)
    places = np.arange(new, dtype=np.float32)
    centres = places * scale if mode == "tf" else np.maximum((places + np.float32(0.5)) * scale - np.float32(0.5), 0)
    return interpolation(centres, old)


def interpolation(centres: Float[np.ndarray, " new"], old: int) -> Matrix:
    """Each row mixes the two pixels around a place in 0..old; the last pixel goes on beyond the border."""
    left = np.minimum(centres.astype(int), old - 1)
    right, share = np.minimum(left + 1, old - 1), centres - left
    matrix = np.zeros((len(centres), old))
    each = np.arange(len(centres))
    np.add.at(matrix, (each, left), 1 - share)
    np.add.at(matrix, (each, right), share)
    return matrix


def smoothing(old: int, new: int) -> Matrix:
    """Pillow's bicubic filter, widened when shrinking and cut off at the border; each row is scaled to sum to 1."""
    matrix = np.zeros((new, old))
    widening = max(old / new, 1.0)
    for i in range(new):
        centre = (i + 0.5) * old / new
        first, last = (int(centre + side * 2 * widening + 0.5) for side in (-1, 1))
        for j in range(max(first, 0), min(last, old)):
            matrix[i, j] = _cubic((j + 0.5 - centre) / widening)
        matrix[i] /= matrix[i].sum()
    return matrix


def _cubic(x: float) -> float:
    """Keys' kernel with a = -1/2."""
    x = math.fabs(x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0

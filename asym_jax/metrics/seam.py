"""The seam: how much a picture's gradient jumps where the hole begins, beyond what the original does there.

Pre_error alone is won by pasting the original over everything outside the hole, however
badly the two parts then fit together. So, for every pair of pixels p and q that touch
along an edge (not a corner), p in the hole and q outside, and for every channel, with
x the original and y the picture that is judged:

    jump = |(y_p - y_q) - (x_p - x_q)|        in [-1, 1], at most 4

and the seam is the mean of the jumps. It is 0 for the original, for an error that runs
on evenly across the border, and for whatever happens elsewhere. A pasted picture whose
hole is off by a shade s scores |s|. Where the hole is invented anew, the best picture is
not 0 either: compare decoders on the same latents.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32, UInt32

from asym_jax.arrays import Mask, Pixels
from asym_jax.metrics.ratios import Ratios

PER_ONE = 255 / 2
"""Levels of 0..255 in a distance of 1 in [-1, 1]."""


class SeamSums(NamedTuple):
    """Exact sums of a batch, as they leave the device."""

    rows: UInt32[Array | np.ndarray, "b H"]  # jumps in 0..255, of the pairs that begin in each row of the picture
    pairs: UInt32[Array | np.ndarray, " b"]  # values (three per pair of pixels) that were compared


def seam_sums(pixels: Pixels, reconstruction: Pixels, mask: Mask) -> SeamSums:
    """Sums over pairs across the border of the hole, which is where the mask is at least one half."""
    error = reconstruction.astype(jnp.int32) - pixels.astype(jnp.int32)
    hole = mask >= 0.5
    # The jump is how much the error changes from p to q.
    below, across = _changes(error, hole, axis=1), _changes(error, hole, axis=2)
    rows = jnp.pad(below.rows, ((0, 0), (0, 1))) + across.rows
    return SeamSums(rows, below.pairs + across.pairs)


def _changes(error: Int32[Array, "b H W 3"], hole: Bool[Array, "b H W 1"], *, axis: int) -> SeamSums:
    """Between neighbours along one axis, exactly one of which lies in the hole."""
    length = error.shape[axis]
    (error_a, error_b), (hole_a, hole_b) = (
        tuple(jnp.take(array, jnp.arange(start, start + length - 1), axis=axis) for start in (0, 1)) for array in (error, hole)
    )
    border = hole_a != hole_b
    jumps = jnp.where(border, jnp.abs(error_b - error_a), 0)
    return SeamSums(jnp.sum(jumps, axis=(2, 3), dtype=jnp.uint32), 3 * jnp.sum(border, axis=(1, 2, 3), dtype=jnp.uint32))


class Seam(Ratios):
    """The seams of any number of pictures, in [-1, 1]; lives on the host. A picture without any border does not count."""

    @classmethod
    def of(cls, sums: SeamSums, valid: Bool[Array | np.ndarray, " b"]) -> "Seam":
        """Takes the rows marked `valid`; the others are padding."""
        rows, pairs = (np.asarray(part)[np.asarray(valid)] for part in sums)
        return cls(rows.sum(axis=1, dtype=np.int64), pairs.astype(np.int64), PER_ONE)

"""Pre_error: what a decoder does to pixels that nobody asked it to touch (arXiv 2306.04632, section 4).

The mean squared error in [-1, 1] over kept pixels, on pictures as files store
them. Everything is summed in integers, so that neither the order of the pictures
nor their spread over devices can change the result.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int64, UInt32

from asym_jax.arrays import Mask, Pixels


class ErrorSums(NamedTuple):
    """Exact sums of a batch, as they leave the device."""

    rows: UInt32[Array | np.ndarray, "b H"]  # squared differences; a whole picture of 512 pixels would overflow 32 bits
    kept: UInt32[Array | np.ndarray, " b"]  # values (three per pixel) that were compared


def squared_error_sums(pixels: Pixels, reconstruction: Pixels, mask: Mask) -> ErrorSums:
    """Sums over pixels to be kept, those whose mask is below one half. Exact up to 22,000 pixels a side."""
    kept = mask < 0.5
    difference = pixels.astype(jnp.int32) - reconstruction.astype(jnp.int32)
    squares = jnp.where(kept, jnp.square(difference), 0)
    return ErrorSums(
        rows=jnp.sum(squares, axis=(2, 3), dtype=jnp.uint32),
        kept=3 * jnp.sum(kept, axis=(1, 2, 3), dtype=jnp.uint32),
    )


class PreError(NamedTuple):
    """Pre_error of any number of pictures; lives on the host."""

    errors: Int64[np.ndarray, " n"]  # per picture, in 0..255 squared
    kept: Int64[np.ndarray, " n"]

    @classmethod
    def of(cls, sums: ErrorSums, valid: Bool[Array | np.ndarray, " b"]) -> "PreError":
        """Takes the rows marked `valid`; the others are padding."""
        valid = np.asarray(valid)
        return cls(np.asarray(sums.rows)[valid].sum(axis=1, dtype=np.int64), np.asarray(sums.kept)[valid].astype(np.int64))

    def merge(self, other: "PreError") -> "PreError":
        return PreError(np.concatenate([self.errors, other.errors]), np.concatenate([self.kept, other.kept]))

    @property
    def images(self) -> int:
        """Pictures that count: those with at least one kept pixel."""
        return int(np.count_nonzero(self.kept))

    @property
    def skipped(self) -> int:
        """Pictures that were masked everywhere."""
        return len(self.kept) - self.images

    def per_picture(self) -> Float[np.ndarray, " n"]:
        """Each picture's own error in [-1, 1] squared; NaN for one that was masked everywhere."""
        with np.errstate(invalid="ignore"):
            return 4 * self.errors / (255**2 * self.kept)

    def pooled(self) -> float | None:
        """Error of all kept pixels together; None if there are none."""
        return _score(int(self.errors.sum()), int(self.kept.sum())) if self.images else None

    def mean_of_ratios(self) -> float | None:
        """Mean of the pictures' own errors, whatever the sizes of their holes; None if no picture counts."""
        ratios = [_score(error, kept) for error, kept in zip(self.errors.tolist(), self.kept.tolist(), strict=True) if kept]
        # fsum rounds once, so the order of the pictures cannot matter.
        return math.fsum(ratios) / self.images if self.images else None


def _score(errors: int, kept: int) -> float:
    """The mean in [-1, 1], where a level is 2/255."""
    return 4 * errors / (255**2 * kept)

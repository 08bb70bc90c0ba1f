"""Pre_error: what a decoder does to pixels that nobody asked it to touch (arXiv 2306.04632, section 4).

The mean squared error in [-1, 1] over kept pixels, on pictures as files store
them. Everything is summed in integers, so that neither the order of the pictures
nor their spread over devices can change the result. A variant measures what the
decoder gave before it was rounded to 256 levels.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int64, UInt32

from asym_jax.arrays import Images, Mask, Pixels
from asym_jax.metrics.ratios import Ratios

PER_ONE = 255**2 / 4
"""Squared levels of 0..255 in a squared distance of 1 in [-1, 1]."""


class ErrorSums(NamedTuple):
    """Exact sums of a batch, as they leave the device."""

    rows: UInt32[Array | np.ndarray, "b H"]  # squared differences; a whole picture of 512 pixels would overflow 32 bits
    kept: UInt32[Array | np.ndarray, " b"]  # values (three per pixel) that were compared


class FloatErrorSums(NamedTuple):
    """The same of pictures that no file has rounded; differences are good to 1e-7."""

    rows: Float[Array | np.ndarray, "b H"]  # squared differences in [-1, 1]
    kept: UInt32[Array | np.ndarray, " b"]


def squared_error_sums(pixels: Pixels, reconstruction: Pixels, mask: Mask) -> ErrorSums:
    """Sums over pixels to be kept, those whose mask is below one half. Exact up to 22,000 pixels a side."""
    kept = mask < 0.5
    difference = pixels.astype(jnp.int32) - reconstruction.astype(jnp.int32)
    squares = jnp.where(kept, jnp.square(difference), 0)
    return ErrorSums(rows=jnp.sum(squares, axis=(2, 3), dtype=jnp.uint32), kept=_values(kept))


def float_error_sums(pixels: Pixels, reconstruction: Images, mask: Mask) -> FloatErrorSums:
    """The same for what a decoder gives in [-1, 1]; values beyond are clipped, as every file would."""
    kept = mask < 0.5
    difference = (pixels.astype(jnp.float32) / 127.5 - 1) - jnp.clip(reconstruction.astype(jnp.float32), -1, 1)
    return FloatErrorSums(rows=jnp.sum(jnp.where(kept, jnp.square(difference), 0), axis=(2, 3)), kept=_values(kept))


def _values(kept: Bool[Array, "b H W 1"]) -> UInt32[Array, " b"]:
    return 3 * jnp.sum(kept, axis=(1, 2, 3), dtype=jnp.uint32)


class PreError(Ratios):
    """Pre_error of any number of pictures, in [-1, 1] squared; lives on the host.

    A picture that is masked everywhere does not count: it is among the `skipped`.
    `pooled` weighs kept pixels alike, `mean_of_ratios` weighs pictures alike; the
    paper does not say which it means.
    """

    @classmethod
    def of(cls, sums: ErrorSums | FloatErrorSums, valid: Bool[Array | np.ndarray, " b"]) -> "PreError":
        """Takes the rows marked `valid`; the others are padding."""
        rows, kept = (np.asarray(part)[np.asarray(valid)] for part in sums)
        exact = np.issubdtype(rows.dtype, np.integer)
        totals = rows.sum(axis=1, dtype=np.int64 if exact else np.float64)
        return cls(totals, kept.astype(np.int64), PER_ONE if exact else 1.0)

    @property
    def errors(self) -> Int64[np.ndarray, " n"] | Float[np.ndarray, " n"]:
        """Per picture, in 0..255 squared, or in [-1, 1] squared for pictures that were not rounded."""
        return self.sums

    @property
    def kept(self) -> Int64[np.ndarray, " n"]:
        """Values that were compared, per picture."""
        return self.counts

    def over_all_pixels(self, pixels: int) -> float | None:
        """Mean over all of a picture's `pixels`, where the hole counts as equal; None if there are no pictures.

        This third reading of the paper's definition is lower by the fraction of pixels
        that are kept. Pictures that are masked everywhere count, as 0.
        """
        return self.total() / (self.per_one * 3 * pixels * len(self.sums)) if len(self.sums) else None

"""All picture metrics of one decoder at once: per picture on the device, summed up on the host."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from asym_jax.arrays import Mask, PerImage, Pixels
from asym_jax.metrics.pre_error import ErrorSums, PreError, squared_error_sums
from asym_jax.metrics.psnr import psnr
from asym_jax.metrics.ssim import ssim


class PictureScores(NamedTuple):
    """How far each reconstruction is from its picture."""

    l1: PerImage  # mean absolute difference in [-1, 1]
    psnr: PerImage  # dB
    ssim: PerImage
    sums: ErrorSums


def compare(pixels: Pixels, reconstruction: Pixels, mask: Mask) -> PictureScores:
    """Scores whole pictures (hole and kept pixels alike), and the error sums of the kept pixels."""
    difference = pixels.astype(jnp.float32) - reconstruction.astype(jnp.float32)
    return PictureScores(
        l1=jnp.mean(jnp.abs(difference), axis=(1, 2, 3)) / 127.5,
        psnr=psnr(pixels, reconstruction),
        ssim=ssim(pixels, reconstruction),
        sums=squared_error_sums(pixels, reconstruction, mask),
    )


class Summary(NamedTuple):
    """Scores of any number of pictures; lives on the host."""

    columns: dict[str, Float[np.ndarray, " n"]]
    pre_error: PreError

    @classmethod
    def of(cls, scores: PictureScores, valid: Bool[Array | np.ndarray, " b"]) -> "Summary":
        """Takes the rows marked `valid`; the others are padding."""
        keep = np.asarray(valid)
        columns = {name: np.asarray(getattr(scores, name), np.float64)[keep] for name in ("l1", "psnr", "ssim")}
        return cls(columns, PreError.of(scores.sums, keep))

    def merge(self, other: "Summary") -> "Summary":
        columns = {name: np.concatenate([values, other.columns[name]]) for name, values in self.columns.items()}
        return Summary(columns, self.pre_error.merge(other.pre_error))

    def results(self) -> dict[str, float | int | None]:
        """Means over pictures, and `pre_error` pooled over all kept pixels, in [-1, 1] squared.

        Pictures reproduced exactly have an infinite PSNR: they are left out of its
        mean and counted as `psnr_infinite`.
        """
        finite = np.isfinite(self.columns["psnr"])
        return {
            "images": len(finite),
            "pre_error": self.pre_error.pooled(),
            "pre_error_mean_of_ratios": self.pre_error.mean_of_ratios(),
            "pre_error_skipped": self.pre_error.skipped,
            "l1": float(self.columns["l1"].mean()),
            "psnr": float(self.columns["psnr"][finite].mean()) if finite.any() else None,
            "psnr_infinite": int((~finite).sum()),
            "ssim": float(self.columns["ssim"].mean()),
        }

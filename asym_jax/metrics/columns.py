"""Every score of pictures against their originals, as columns for `ByIndex`, and what they come to."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from asym_jax.arrays import Images, Mask, Pixels
from asym_jax.metrics.pre_error import PER_ONE, ErrorSums, FloatErrorSums, PreError, float_error_sums, squared_error_sums
from asym_jax.metrics.psnr import psnr
from asym_jax.metrics.quantise import quantise
from asym_jax.metrics.seam import PER_ONE as LEVELS
from asym_jax.metrics.seam import Seam, SeamSums, seam_sums
from asym_jax.metrics.ssim import ssim, ssim_lama

MEANS = ("l1", "psnr", "ssim", "ssim_lama")
"""Columns whose mean is the score."""

Columns = dict[str, Shaped[Array | np.ndarray, "_ ..."]]


def picture_columns(pixels: Pixels, reconstruction: Pixels, mask: Mask) -> Columns:
    """What there is to say of pictures as files store them; one row per picture, none sees another.

    Whole pictures: `l1` (mean absolute difference in [-1, 1]), `psnr`, `ssim`, `ssim_lama`.
    Sums by rows of the picture, for `settled`: `pre_error`, of the kept pixels, and `seam`.
    """
    difference = pixels.astype(jnp.float32) - reconstruction.astype(jnp.float32)
    sums, seams = squared_error_sums(pixels, reconstruction, mask), seam_sums(pixels, reconstruction, mask)
    return {
        "l1": jnp.mean(jnp.abs(difference), axis=(1, 2, 3)) / 127.5,
        "psnr": psnr(pixels, reconstruction),
        "ssim": ssim(pixels, reconstruction),
        "ssim_lama": ssim_lama(pixels, reconstruction),
        **_pair("pre_error", sums),
        **_pair("seam", seams),
    }


def decoded_columns(pixels: Pixels, images: Images, mask: Mask) -> Columns:
    """Pre_error of what a decoder gives in [-1, 1] before it is rounded: as it is (`pre_error_float`), and cut off as the
    reference's scripts do (`pre_error_floor`); sums by rows, for `settled`."""
    floored = squared_error_sums(pixels, quantise(images, "floor"), mask)
    return {**_pair("pre_error_floor", floored), **_pair("pre_error_float", float_error_sums(pixels, images, mask))}


def _pair(name: str, sums: ErrorSums | FloatErrorSums | SeamSums) -> Columns:
    rows, values = sums
    return {f"{name}/sums": rows, f"{name}/values": values}


def settled(columns: Mapping[str, Shaped[Array | np.ndarray, "_ ..."]]) -> Columns:
    """The same columns on the host with one number per picture: sums in 64 bits, which no device needs to have."""
    host = {name: np.asarray(values) for name, values in columns.items()}
    for name, values in host.items():
        if name.endswith("/sums"):
            wide = np.int64 if np.issubdtype(values.dtype, np.integer) else np.float64
            host[name] = values.reshape(len(values), -1).sum(axis=1, dtype=wide)
        elif name.endswith("/values"):
            host[name] = values.astype(np.int64)
    return host


def summed_up(columns: Mapping[str, Shaped[np.ndarray, "n ..."]], *, pixels: int) -> dict[str, float | int | None]:
    """The scores of all pictures whose columns (after `settled`) are given, of `pixels` each.

    Pictures reproduced exactly have an infinite PSNR: they are left out of its mean and
    counted as `psnr_infinite`. Where no picture counts the score is None.
    """
    results: dict[str, float | int | None] = {"images": len(next(iter(columns.values())))}
    for name in MEANS:
        if name in columns:
            finite = columns[name][np.isfinite(columns[name])].astype(np.float64)
            results[name] = float(finite.mean()) if len(finite) else None
    if "psnr" in columns:
        results["psnr_infinite"] = int(np.isinf(columns["psnr"]).sum())
    for name in ("pre_error", "pre_error_floor", "pre_error_float"):
        if f"{name}/sums" in columns:
            error = pre_error_of(columns, name)
            results[name] = error.pooled()
            results[f"{name}_mean_of_ratios"] = error.mean_of_ratios()
            results[f"{name}_over_all_pixels"] = error.over_all_pixels(pixels)
            results["pre_error_skipped"] = error.skipped
    if "seam/sums" in columns:
        seam = seam_of(columns)
        results |= {"seam": seam.pooled(), "seam_mean_of_ratios": seam.mean_of_ratios(), "seam_skipped": seam.skipped}
    return results


def pre_error_of(columns: Mapping[str, Shaped[np.ndarray, "n ..."]], name: str = "pre_error") -> PreError:
    """The Pre_error whose settled columns are called `name`; it also knows each picture's own."""
    sums = columns[f"{name}/sums"]
    return PreError(sums, columns[f"{name}/values"], PER_ONE if np.issubdtype(sums.dtype, np.integer) else 1.0)


def seam_of(columns: Mapping[str, Shaped[np.ndarray, "n ..."]]) -> Seam:
    """The seams, given settled columns; it also knows each picture's own."""
    return Seam(columns["seam/sums"], columns["seam/values"], LEVELS)

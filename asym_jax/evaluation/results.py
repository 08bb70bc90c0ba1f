"""From what was measured of each picture to the numbers of a report."""

import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float

from asym_jax.evaluation.measure import Columns, Measures
from asym_jax.evaluation.workbook import ORIGINAL
from asym_jax.metrics import pre_error, seam
from asym_jax.metrics.area_bins import BIN_LABELS, area_bins
from asym_jax.metrics.fid import fid
from asym_jax.metrics.inception_score import SPLITS, inception_score
from asym_jax.metrics.pre_error import PreError
from asym_jax.metrics.seam import Seam

MEANS = ("l1", "ssim", "ssim_lama", "lpips", "lpips_alex", "clip_score")
PACKAGES = ("jax", "jaxlib", "flax", "numpy", "pillow")

Chosen = Bool[np.ndarray, " n"]
Notes = Sequence[Mapping[str, Any]]


def result_rows(
    names: Sequence[str], measured: Mapping[str, Columns], notes: Notes, measures: Measures, *, chosen: Chosen | None = None
) -> list[dict[str, Any]]:
    """One row per decoder, over the chosen examples, in the order of the data set, so that nothing else can matter.

    Args:
        measured: by decoder, and for the originals; of every example.
        notes: the journal's record of every example.
    """
    chosen = np.ones(len(notes), bool) if chosen is None else chosen
    return [_row(name, measured, notes, measures, chosen) for name in names]


def binned_rows(
    names: Sequence[str], measured: Mapping[str, Columns], notes: Notes, measures: Measures
) -> dict[str, list[dict[str, Any]]]:
    """The same by size of the hole, in tenths of the picture; bins without pictures are left out."""
    bins = area_bins(areas_of(notes))
    return {
        label: result_rows(names, measured, notes, measures, chosen=bins == i)
        for i, label in enumerate(BIN_LABELS)
        if np.any(bins == i)
    }


def areas_of(notes: Notes) -> Float[np.ndarray, " n"]:
    """Share of each picture that is hole."""
    return np.array([1 - note["kept"] / note["values"] for note in notes], np.float64)


def per_picture(names: Sequence[str], measured: Mapping[str, Columns]) -> dict[str, dict[str, Float[np.ndarray, " n"]]]:
    """Scores of every picture, by decoder and metric."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name in names:
        columns = measured[name]
        scores = {metric: columns[metric].astype(np.float64) for metric in (*MEANS, "psnr") if metric in columns}
        if "pre_error" in columns:
            scores["pre_error"] = _pre_error(columns).per_picture()
            scores["seam"] = _seam(columns).per_picture()
        found[name] = scores
    return found


def environment() -> dict[str, Any]:
    """What these numbers were computed with."""
    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "devices": f"{jax.device_count()} {device.platform} ({device.device_kind})",
    }


def data_hash(notes: Notes) -> str:
    """SHA-256 of all originals and masks, in their order."""
    return hashlib.sha256("".join(note["sha256"] for note in notes).encode()).hexdigest()


def _row(name: str, measured: Mapping[str, Columns], notes: Notes, measures: Measures, chosen: Chosen) -> dict[str, Any]:
    columns = {key: values[chosen] for key, values in measured[name].items()}
    row: dict[str, Any] = {"decoder": name, "images": int(chosen.sum())}
    if measures.paired:
        row |= _pre_errors(name, columns, [note for note, wanted in zip(notes, chosen, strict=True) if wanted])
        finite = np.isfinite(columns["psnr"])
        row["psnr"] = float(columns["psnr"][finite].mean(dtype=np.float64)) if finite.any() else None
        row["psnr_infinite"] = int((~finite).sum())
        row["seam"] = _seam(columns).pooled()
    for metric in MEANS:
        if metric in columns:
            row[metric] = float(columns[metric].mean(dtype=np.float64))
        elif metric in measures.metrics:
            row[metric] = None
    if "fid" in measures.metrics:
        enough = "pool3" in columns and chosen.sum() > 1
        row["fid"] = fid(columns["pool3"], measured[ORIGINAL]["pool3"][_references(notes, measures, chosen)]) if enough else None
    if "inception_score" in measures.metrics:
        enough = "logits" in columns and chosen.sum() >= SPLITS
        score = inception_score(columns["logits"]) if enough else None
        row["inception_score"] = score.mean if score else None
        row["inception_score_deviation"] = score.deviation if score else None
    return row


def _references(notes: Notes, measures: Measures, chosen: Chosen) -> Chosen:
    """Whose originals FID compares with: all, or each picture once where several captions belong to it."""
    if measures.paired:
        return chosen
    _, first = np.unique([note["sha256"] for note in notes], return_index=True)
    return chosen & np.isin(np.arange(len(notes)), first)


def _pre_errors(name: str, columns: Columns, notes: Notes) -> dict[str, Any]:
    """All readings of Pre_error; the first is the one that tables show."""
    exact = _pre_error(columns)
    kept = np.array([note["kept"] for note in notes], np.int64)
    floored = PreError(np.array([note["floor"][name] for note in notes], np.int64), kept, pre_error.PER_ONE)
    unrounded = PreError(np.array([note["float"][name] for note in notes], np.float64), kept, 1.0)
    return {
        "pre_error": exact.pooled(),
        "pre_error_mean_of_ratios": exact.mean_of_ratios(),
        "pre_error_all_pixels": exact.over_all_pixels(notes[0]["values"] // 3) if notes else None,
        "pre_error_floor": floored.pooled(),
        "pre_error_float": unrounded.pooled(),
        "pre_error_skipped": exact.skipped,
    }


def _pre_error(columns: Columns) -> PreError:
    return PreError(columns["pre_error"], columns["kept"].astype(np.int64), pre_error.PER_ONE)


def _seam(columns: Columns) -> Seam:
    return Seam(columns["seam"], columns["pairs"].astype(np.int64), seam.PER_ONE)

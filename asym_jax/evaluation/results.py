"""From what was measured of each picture to the numbers of a report."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from asym_jax.evaluation.measure import Measures
from asym_jax.evaluation.workbook import ORIGINAL
from asym_jax.metrics.area_bins import BIN_LABELS, area_bins
from asym_jax.metrics.columns import Columns, pre_error_of, seam_of, summed_up
from asym_jax.metrics.fid import fid
from asym_jax.metrics.inception_score import SPLITS, inception_score

MEANS = ("lpips", "lpips_alex", "clip_score")
"""Columns of networks whose mean is the score."""

PER_PICTURE = ("psnr", "ssim", *MEANS)

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
    kept = next(iter(measured[name] for name in names))["pre_error/values"]
    bins = area_bins(1 - kept / (3 * _pixels(notes)))
    return {
        label: result_rows(names, measured, notes, measures, chosen=bins == i)
        for i, label in enumerate(BIN_LABELS)
        if np.any(bins == i)
    }


def per_picture(names: Sequence[str], measured: Mapping[str, Columns]) -> dict[str, dict[str, Float[np.ndarray, " n"]]]:
    """Scores of every picture, by decoder and metric."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name in names:
        columns = measured[name]
        scores = {metric: columns[metric].astype(np.float64) for metric in PER_PICTURE if metric in columns}
        if "pre_error/sums" in columns:
            scores |= {"pre_error": pre_error_of(columns).per_picture(), "seam": seam_of(columns).per_picture()}
        found[name] = scores
    return found


def data_hash(notes: Notes) -> str:
    """SHA-256 of all originals and masks, in their order."""
    return hashlib.sha256("".join(note["sha256"] for note in notes).encode()).hexdigest()


def _row(name: str, measured: Mapping[str, Columns], notes: Notes, measures: Measures, chosen: Chosen) -> dict[str, Any]:
    columns = {key: values[chosen] for key, values in measured[name].items()}
    row: dict[str, Any] = {"decoder": name, "images": int(chosen.sum())}
    if measures.paired:
        decoded = [note["decoded"][name] for note, wanted in zip(notes, chosen, strict=True) if wanted]
        unrounded = {key: np.array([record[key] for record in decoded]) for key in decoded[0]}
        row |= summed_up(columns | unrounded, pixels=_pixels(notes))
    for metric in MEANS:
        if metric in measures.metrics:
            row[metric] = float(columns[metric].mean(dtype=np.float64)) if metric in columns else None
    if "fid" in measures.metrics:
        references = _references(notes, measures, chosen)
        enough = "pool3" in columns and references.sum() > 1
        row["fid"] = fid(columns["pool3"], measured[ORIGINAL]["pool3"][references]) if enough else None
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


def _pixels(notes: Notes) -> int:
    """Of each picture."""
    return notes[0]["pixels"]

"""The outcome of an evaluation on disk: results.json, and report.html, which can be read offline."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asym_jax.errors import InputError
from asym_jax.evaluation import report_tables as tables
from asym_jax.evaluation.report_sheets import FILES, ReportPicture, choose, make_sheet, ours_of
from asym_jax.evaluation.report_tables import text
from asym_jax.evaluation.subjects import VANILLA
from asym_jax.evaluation.tables import COLUMNS, cell, nothing_in
from asym_jax.evaluation.workbook import write_text

__all__ = ["ReportPicture", "write_report"]

ASSETS = Path(__file__).parents[1] / "assets" / "report"


def write_report(folder: Path, results: Mapping[str, Any], pictures: Sequence[ReportPicture], *, sheet_rows: int = 24) -> None:
    """Writes results.json, report.html and what the page shows beside the pictures, into `report_files/`.

    Args:
        results: the content of results.json: `task`, `settings`, `rows` (one per decoder), `skipped` and `undefined` (why
            a metric is null), `bins` (rows by label of the hole area), `published`, `notes`, and `table` if one of the paper's
            was asked for.
        pictures: every example, in the order of the set; their files lie in `folder`.
        sheet_rows: most examples shown: the worst, the median and the best by the Pre_error of the first trained decoder.

    Raises:
        InputError: the folder cannot be written, or a picture is missing.
    """
    names = [row["decoder"] for row in results["rows"]]
    ours, paired = ours_of(names), any("pre_error" in row for row in results["rows"])
    score = _leading_score(pictures, ours)
    shown = choose(pictures, ours, score, sheet_rows)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "results.json", json.dumps(_finite(results), indent=2, allow_nan=False) + "\n")
        sheets = [make_sheet(folder, number, pictures[number], names, paired=paired) for number in shown]
        _remove_others(folder, {path for sheet in sheets for path in sheet.files})
        page = _page(results, pictures, names, "".join(sheet.html for sheet in sheets), _chosen(pictures, shown, ours, score))
        write_text(folder / "report.html", page)
    except OSError as error:
        where = error.filename or folder
        raise InputError(f"--out {folder}: the report cannot be written: {where}: {error.strerror or error}") from error


def _page(results: Mapping[str, Any], pictures: Sequence[ReportPicture], names: Sequence[str], sheets: str, chosen: str) -> str:
    style, script = ((ASSETS / name).read_text(encoding="utf-8") for name in ("style.css", "sort.js"))
    task, rows = text(results["task"]), results["rows"]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>asym_jax: {task}</title>
<style>
{style}</style>
</head>
<body>
<h1>{task}</h1>
<p>{_verdict(rows, names)}</p>
<h2>Results</h2>
{_results(results)}
{_notices(results)}
{tables.other_readings(rows)}
{_bins(results)}
{_wins(names, pictures)}
<h2>Pictures</h2>
<p>{text(chosen)}</p>
{_sorting(pictures, names)}
<div id="cards" style="--columns: {len(names) + 1 + any("pre_error" in row for row in rows)}">{sheets}</div>
<h2>Settings</h2>
{tables.settings_table(results["settings"])}
<script>
{script}</script>
</body>
</html>
"""


def _results(results: Mapping[str, Any]) -> str:
    """The paper's table if one was asked for, then all pictures together, and what the columns mean."""
    rows, published = results["rows"], results.get("published") or ()
    table, parts = results.get("table"), []
    if table:
        title = f"Table {table['number']}: {table['title']}" + (f", {table['set']}" if table.get("set") else "")
        about = "" if published else " No published values of this table are known."
        beside = " Published values are of other pictures, masks and samples, and another N." if published else about
        caption = _measured_on(table["rows"]) if table["rows"] else f"{nothing_in(table['bin'])}."
        parts.append(f"<h3>{text(title)}</h3>" + tables.result_table(table["rows"], published, text(caption + beside)))
    if not table or table.get("bin"):
        parts += ["<h3>All holes</h3>"] * bool(table)
        parts.append(tables.result_table(rows, () if table else published, text(_measured_on(rows))))
    return "".join(parts) + tables.meanings(tables.shown_columns(rows, published))


def _measured_on(rows: Sequence[Mapping[str, Any]]) -> str:
    """The caption of measured rows."""
    return f"Measured here on {max(row.get('images', 0) for row in rows)} pictures; bold is the best of these rows."


def _bins(results: Mapping[str, Any]) -> str:
    bins = results.get("bins")
    if not bins:
        return ""
    caption = "N differs from group to group, so that FIDs of two groups cannot be compared."
    return f"<details><summary>By size of the hole</summary>{tables.bin_table(bins, caption)}</details>"


def _wins(names: Sequence[str], pictures: Sequence[ReportPicture]) -> str:
    table = tables.wins_table(names, [picture.scores for picture in pictures], VANILLA)
    return f"<h2>Picture by picture</h2>{table}" if table else ""


def _notices(results: Mapping[str, Any]) -> str:
    reasons: dict[str, list[str]] = {}
    for name, reason in results.get("skipped", {}).items():
        reasons.setdefault(reason, []).append(name)
    said = [
        f"<details class=note><summary><b>{text(', '.join(names))}</b> not measured: files are missing</summary>"
        f"{text(reason)}</details>"
        for reason, names in reasons.items()
    ]
    said += [
        f"<p class=note><b>{text(name)}</b> not measured: {text(reason)}</p>"
        for name, reason in results.get("undefined", {}).items()
    ]
    return "".join(f"<p class=note>{text(note)}</p>" for note in results.get("notes", ())) + "".join(said)


def _verdict(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """One sentence that says how much of the damage is gone, as HTML."""
    by_name = {row["decoder"]: row for row in rows}
    ours = by_name[ours_of(names)]
    vanilla = by_name.get(VANILLA, {}).get("pre_error")
    if vanilla is None or ours.get("pre_error") is None or ours["decoder"] == VANILLA:
        return f"{ours.get('images', 0)} pictures by each of {len(rows)} decoders, from the same latents."
    change = f"The vanilla decoder changes pixels that were to be kept by a Pre_error of {cell(by_name[VANILLA], 'pre_error')}e-5"
    name = f"<b class=name>{text(ours['decoder'])}</b>"
    if not ours["pre_error"]:
        return f"{change}; {name} leaves them exactly as they were."
    return f"{change}, {name} by {cell(ours, 'pre_error')}e-5: {vanilla / ours['pre_error']:.3g} times less."


def _chosen(pictures: Sequence[ReportPicture], shown: Sequence[int], ours: str, score: str | None) -> str:
    """Which pictures are shown, and how to read a sheet."""
    if score is None or len(shown) == len(pictures):
        which = f"{len(shown)} of {len(pictures)} pictures"
        which += f", worst first by the {tables.short_label(score)} of {ours}" if score else ", taken evenly from all"
    else:
        label = tables.short_label(score)
        which = (
            f"{len(shown)} of {len(pictures)} pictures: the worst, those around the median and the best by the {label} of {ours}"
        )
    return f"{which}. Every picture is a link to its file. Numbers under a decoder are of this picture alone; Pre_error in 1e-5."


def _sorting(pictures: Sequence[ReportPicture], names: Sequence[str]) -> str:
    """Controls that the script makes visible."""
    known = {metric for picture in pictures for values in picture.scores.values() for metric in values}
    metrics = [name for name in ("pre_error", *COLUMNS) if name in known]
    if not metrics:
        return ""
    scores = "".join(
        f'<option value="{name}" data-better={COLUMNS[name][2]}>{text(tables.short_label(name))}</option>'
        for name in dict.fromkeys(metrics)
    )
    ours = ours_of(names)
    decoders = "".join(f'<option value="{text(name)}"{" selected" if name == ours else ""}>{text(name)}</option>' for name in names)
    return (
        f'<form id="sorting" hidden><label>sorted by <select id="sort-score">{scores}</select></label>'
        f'<label>of <select id="sort-decoder">{decoders}</select></label>'
        '<label><select id="sort-order" aria-label="order"><option value="worst">worst first</option>'
        '<option value="best">best first</option></select></label></form>'
    )


def _leading_score(pictures: Sequence[ReportPicture], ours: str) -> str | None:
    """Pre_error where it was measured, or else the first score that was."""
    for name in ("pre_error", *COLUMNS):
        if any(not math.isnan(picture.scores.get(ours, {}).get(name, math.nan)) for picture in pictures):
            return name
    return None


def _finite(value: Any) -> Any:
    """The same with null for numbers that JSON cannot hold."""
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _remove_others(folder: Path, wanted: set[str]) -> None:
    """Deletes what an earlier report left in its folder."""
    for path in (folder / FILES).glob("*.png"):
        if f"{FILES}/{path.name}" not in wanted:
            path.unlink()

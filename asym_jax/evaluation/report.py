"""The outcome of an evaluation on disk: results.json, report.html and picture sheets."""

import html
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from asym_jax.errors import InputError
from asym_jax.evaluation.pairs import Pairs
from asym_jax.evaluation.reconstruct import Result
from asym_jax.sheets import draw_sheet, masked_pixels, save_picture

ORIGINAL, MASKED = "original", "masked"
COLUMNS = {
    "images": ("pictures", "{:d}"),
    "pre_error": ("pre_error x 1e-5, lower is better", "{:.1f}"),
    "psnr": ("PSNR dB, higher is better", "{:.2f}"),
    "ssim": ("SSIM, higher is better", "{:.4f}"),
    "lpips": ("LPIPS, lower is better", "{:.4f}"),
}

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .35rem .9rem }
th, td { text-align: right; border-bottom: 1px solid #ccc }
th:first-child, td:first-child { text-align: left } th { font-weight: 600; vertical-align: bottom; max-width: 10rem }
img { max-width: 100% } .note { background: #fff4d6; padding: .5rem 1rem } code { background: #f3f3f3; padding: 0 .25rem }
"""


def make_folder(folder: Path) -> None:
    """Makes the folder of a report, to be called before hours of measuring. Raises InputError if that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {folder} cannot be written: {error.strerror or error}") from error


def write_report(folder: Path, task: str, settings: Mapping[str, Any], pairs: Pairs, result: Result) -> None:
    """Writes everything into `folder`, making it if need be. Raises InputError if it cannot be written."""
    make_folder(folder)
    try:
        _sheets(folder, pairs, result)
        document = {"task": task, "settings": dict(settings), "rows": result.rows, "skipped": result.skipped, "notes": result.notes}
        _write(folder / "results.json", json.dumps(document, indent=2) + "\n")
        _write(folder / "report.html", _page(task, settings, result))
    except OSError as error:
        raise InputError(f"--out {folder} cannot be written: {error.strerror or error}") from error


def summary_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table for a terminal."""
    lines = []
    for row in rows:
        units = {"pre_error": "e-5", "psnr": " dB"}
        cells = [f"{name} {_cell(row, name)}{units.get(name, '')}" for name in COLUMNS if name != "images"]
        lines.append(f"{row['decoder']:>12}  {row['images']} pictures  " + "  ".join(cells))
    return lines


def _sheets(folder: Path, pairs: Pairs, result: Result) -> None:
    count = len(next(iter(result.pictures.values())))
    pixels, masks = pairs.pixels[:count], pairs.masks[:count]
    columns = {ORIGINAL: pixels, MASKED: masked_pixels(pixels, masks), **result.pictures}
    save_picture(draw_sheet(columns), folder / "sheet.png")
    for index in range(count):
        for name, pictures in columns.items():
            save_picture(Image.fromarray(pictures[index]), folder / "pictures" / f"{index:04}_{name}.png")


def _page(task: str, settings: Mapping[str, Any], result: Result) -> str:
    head = "".join(f"<th>{html.escape(label)}</th>" for label, _ in COLUMNS.values())
    body = "".join(
        f"<tr><td>{html.escape(row['decoder'])}</td>" + "".join(f"<td>{_cell(row, name)}</td>" for name in COLUMNS) + "</tr>"
        for row in result.rows
    )
    notes = "".join(f"<p class=note>{html.escape(note)}</p>" for note in result.notes)
    reasons = "".join(
        f"<p class=note><b>{html.escape(name)}</b> was not measured: {html.escape(reason)}</p>"
        for name, reason in result.skipped.items()
    )
    chosen = "".join(
        f"<tr><td>{html.escape(name)}</td><td><code>{html.escape(str(value))}</code></td></tr>" for name, value in settings.items()
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>asym_jax: {html.escape(task)}</title><style>{STYLE}</style>
<h1>{html.escape(task)}</h1>
<p>{_verdict(result)}</p>
<table><tr><th>decoder</th>{head}</tr>{body}</table>
{notes}{reasons}
<p>All metrics look at 8-bit pictures. pre_error is the mean squared error over kept pixels, those outside the hole, on the scale
of [-1, 1]; the other columns compare whole pictures, hole included.</p>
<img src="sheet.png" alt="original, masked, vanilla and ours side by side">
<h2>Settings</h2><table>{chosen}</table>
</html>
"""


def _verdict(result: Result) -> str:
    """One sentence that says how much of the damage is gone."""
    vanilla, ours = (row["pre_error"] for row in result.rows[:2])
    errors = [np.asarray(values) for values in result.errors.values()]
    counted = ~np.isnan(errors[0])
    if vanilla is None or not counted.any():
        return "Every picture was masked everywhere, so there are no kept pixels to compare."
    better = int(np.sum(errors[1][counted] < errors[0][counted]))
    times = "none of it" if ours == 0 else f"{vanilla / ours:.1f} times less of it"
    return (
        f"The vanilla decoder damages pixels that were to be kept by {vanilla * 1e5:.1f}e-5; ours leaves {times}, "
        f"and is the better one on {better} of {int(counted.sum())} pictures."
    )


def _cell(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    return COLUMNS[name][1].format(value * 1e5 if name == "pre_error" else value)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)

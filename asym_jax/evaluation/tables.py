"""The six tables of the paper: what has to be run for each, and which columns it has.

Numbered as the paper makes its claims: inpainting, inpainting with large holes, editing by example, generation from text, and
two ablations.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from asym_jax.evaluation import published

COLUMNS = {
    "images": ("N", "{:d}", 0),
    "fid": ("FID", "{:.2f}", -1),
    "inception_score": ("IS", "{:.2f}", +1),
    "clip_score": ("CLIP score", "{:.2f}", +1),
    "lpips": ("LPIPS", "{:.4f}", -1),
    "pre_error": ("Pre_error x 1e-5", "{:.2f}", -1),
    "seam": ("seam", "{:.4f}", -1),
    "psnr": ("PSNR dB", "{:.2f}", +1),
    "ssim": ("SSIM", "{:.4f}", +1),
}
"""Heading, format, and whether lower (-1) or higher (+1) is better."""

SCALE = {"pre_error": 1e5}
"""What values are multiplied with for display."""

Rows = Sequence[Mapping[str, Any]]


class Table(NamedTuple):
    """One of the paper's tables.

    Attributes:
        published: the surviving rows by data set, for every data set that the paper has.
        bin: the label of the hole areas that count; None for all.
        ablation: rows of decoders that see only the latents, too.
    """

    title: str
    task: str
    columns: tuple[str, ...]
    published: Mapping[str, Rows]
    bin: str | None = None
    ablation: bool = False


_INPAINTING = ("fid", "lpips", "pre_error", "seam")

TABLES = {
    1: Table(
        "Inpainting",
        "inpaint",
        _INPAINTING,
        {"imagenet": published.INPAINTING_IMAGENET, "places365": published.INPAINTING_PLACES},
    ),
    2: Table("Inpainting of holes of 40-50%", "inpaint", _INPAINTING, {"imagenet": (), "places365": ()}, bin="40-50%"),
    3: Table(
        "Paint-by-Example",
        "paint-by-example",
        ("clip_score", "pre_error", "seam"),
        {"cocoee": published.PAINT_BY_EXAMPLE},
    ),
    4: Table("Text to image", "text-to-image", ("fid", "inception_score"), {"coco-captions": published.TEXT_TO_IMAGE}),
    5: Table(
        "Ablation: with and without the condition, base and large decoders (one --weights for each)",
        "paint-by-example",
        ("clip_score", "pre_error"),
        {"cocoee": ()},
        ablation=True,
    ),
    6: Table(
        "Ablation: blending by addition and by concatenation (one --weights for each)",
        "paint-by-example",
        ("clip_score", "pre_error"),
        {"cocoee": ()},
    ),
}


def cell(row: Mapping[str, Any], name: str) -> str:
    """A value as text; a dash where it was not measured, or not published."""
    value = row.get(name)
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    return COLUMNS[name][1].format(value * SCALE.get(name, 1))


def aligned(rows: Rows) -> list[str]:
    """The measured rows as lines for a terminal; columns that no row has are left out."""
    columns = [name for name in COLUMNS if any(row.get(name) is not None for row in rows)]
    lines = [["", *(COLUMNS[name][0] for name in columns)]]
    lines += [[str(row["decoder"]), *(cell(row, name) for name in columns)] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return ["  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in lines]


def markdown(number: int, dataset: str, rows: Rows, *, remarks: Sequence[str] = ()) -> str:
    """A table as Markdown: measured rows first, then the published ones with their sources."""
    table = TABLES[number]
    columns = ("images", *table.columns)
    arrows = {-1: " (lower is better)", 0: "", 1: " (higher is better)"}
    known = table.published.get(dataset, ())
    head = ["decoder", *(COLUMNS[name][0] + arrows[COLUMNS[name][2]] for name in columns), "source"]
    body = [[str(row["decoder"]), *(cell(row, name) for name in columns), "measured here"] for row in rows]
    body += [[row["decoder"], *(cell(row, name) for name in columns), row["source"]] for row in known]
    lines = [head, ["---"] + ["---:"] * len(columns) + ["---"], *body]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"# Table {number}: {table.title} ({dataset or 'own pictures'})\n\n{text}\n\n" + "".join(
        f"* {remark}\n" for remark in (*([] if rows else [f"{nothing_in(table.bin)}."]), *_about(table, dataset), *remarks)
    )


def nothing_in(label: str | None) -> str:
    """What is said of a table of one size of holes that no picture has."""
    return f"None of these pictures has a hole of {label} of its area, so nothing was measured"


def _about(table: Table, dataset: str) -> list[str]:
    if dataset not in table.published:
        return [f"The paper's table is of {' or '.join(table.published)}: these values cannot be compared with it."]
    if not table.published[dataset]:
        return ["No published values of this table survive in the sources at hand."]
    return ["Published values are of other pictures, masks and samples, and of another number of them."]

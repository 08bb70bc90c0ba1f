"""The pictures of a report: which are shown, and the sheet of each."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
from PIL import Image

from asym_jax.evaluation.report_pictures import Box, Pixels, alike, difference, worst_box, zoom
from asym_jax.evaluation.report_tables import scrolling, short_label, text
from asym_jax.evaluation.subjects import PASTED, VANILLA, WITHOUT
from asym_jax.evaluation.tables import COLUMNS, cell
from asym_jax.evaluation.workbook import MASK, MASKED, ORIGINAL, file_name
from asym_jax.sheets import save_picture

FILES = "report_files"
"""The folder of what is made for the report alone."""


SMALL = 200
"""Width below which the page enlarges a picture."""


class ReportPicture(NamedTuple):
    """One example of an evaluation.

    Attributes:
        paths: PNG files relative to the report's folder: `original`, `masked`, `mask`, and one for each decoder.
        scores: by decoder and metric; NaN where there is none.
    """

    name: str
    paths: Mapping[str, str]
    scores: Mapping[str, Mapping[str, float]]


class Sheet(NamedTuple):
    """What is shown of one example, and all files that were made for it."""

    html: str
    files: list[str]


def ours_of(names: Sequence[str]) -> str:
    """The decoder by which pictures are chosen and ordered: the first trained one, or else the first."""
    return next((name for name in names if name not in (VANILLA, PASTED) and not name.endswith(WITHOUT)), names[0])


def choose(pictures: Sequence[ReportPicture], ours: str, score: str | None, most: int) -> list[int]:
    """Numbers of the pictures to show, worst first: a third worst, a third around the median, a third best.

    Pictures without a value come last. Without a score, pictures are taken evenly from all.
    """
    count = len(pictures)
    if score is None:
        return sorted({i * count // min(most, count) for i in range(min(most, count))})
    values = [COLUMNS[score][2] * picture.scores.get(ours, {}).get(score, math.nan) for picture in pictures]
    known = sorted((i for i in range(count) if not math.isnan(values[i])), key=lambda i: (values[i], i))
    if len(known) <= most:
        return [*known, *(i for i in range(count) if math.isnan(values[i]))][:most]
    third = most // 3
    worst = most - 2 * third
    centre = max(worst, min((len(known) - third) // 2, len(known) - 2 * third))
    return [*known[:worst], *known[centre : centre + third], *known[len(known) - third :]]


def make_sheet(folder: Path, number: int, picture: ReportPicture, names: Sequence[str], *, paired: bool) -> Sheet:
    """Writes differences and zoomed crops of one example, and says how they are to be shown.

    Args:
        number: of the example in the set; it begins the names of its files.
        paired: the decoders' pictures are versions of the original, so that their differences mean something.

    Raises:
        OSError: a picture is missing or broken, or one cannot be written.
    """
    columns = [ORIGINAL, *([MASKED] if paired else []), *names]
    pixels = {column: _read(folder / picture.paths[column]) for column in columns}
    hole = _read(folder / picture.paths[MASK])[..., 0] >= 128 if paired else None
    boxes = _boxes(pixels, names, hole) if paired else {}
    height, width = pixels[ORIGINAL].shape[:2]
    files: list[str] = []

    def made(image: Image.Image, column: str, what: str) -> str:
        path = f"{FILES}/{number:06}_{columns.index(column)}_{file_name(column)}_{what}.png"
        save_picture(image, folder / path)
        files.append(path)
        return _image(path, f"{what} of {column}", image.size)

    frames = "".join(_frame(box, height, width) for box in boxes.values())
    plain = [_image(picture.paths[c], c, (width, height), frames if c == ORIGINAL else "") for c in columns]
    rows = [("picture", plain)]
    if paired:
        changes = {c: Image.fromarray(difference(pixels[ORIGINAL], pixels[c], hole)) for c in names}
        shown = [made(changes[c], c, "difference") if c in names else "" for c in columns]
        rows.append(("|difference| × 10, hole outlined", shown))
    for place, (name, box) in enumerate(boxes.items()):
        said = f'<span class="swatch{" second" * place}"></span> zoom: kept pixels that {text(name)} changes most'
        rows.append((said, [made(zoom(pixels[c], box), c, f"zoom {place + 1}") for c in columns]))
    about = f"number {number}" + (f", hole {hole.mean():.1%} of the picture" if hole is not None else "")
    return Sheet(
        f'<article class=card id=picture{number} data-scores="{text(_json(picture.scores))}"><header><h3>{text(picture.name)}</h3>'
        f"<span class=soft>{about}</span></header>{_table(picture, columns, rows)}</article>",
        files,
    )


def _table(picture: ReportPicture, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Headings with the scores of this picture, and rows of pictures."""
    head = "".join(f"<th scope=col>{text(column)}{_scores(picture.scores.get(column, {}))}</th>" for column in columns)
    body = "".join(
        f"<tr><th scope=row>{said}</th>{''.join(f'<td>{content}</td>' for content in contents)}</tr>" for said, contents in rows
    )
    return scrolling(f"<table class=sheet><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>", picture.name)


def _boxes(pixels: Mapping[str, Pixels], names: Sequence[str], hole: np.ndarray | None) -> dict[str, Box]:
    """Where the vanilla decoder and ours are at their worst; one entry if that is more or less the same place."""
    found: dict[str, Box] = {}
    for name in dict.fromkeys((VANILLA, ours_of(names))):
        box = worst_box(pixels[ORIGINAL], pixels[name], hole) if name in pixels else None
        if box and not any(alike(box, other) for other in found.values()):
            found[name] = box
    return found


def _read(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _image(path: str, alt: str, size: tuple[int, int], overlay: str = "") -> str:
    """A picture that is loaded when it is scrolled to, and leads to its file."""
    source, (width, height) = quote(path), size
    # Enlarged pixels stay squares.
    kind = " class=pixels" if "zoom" in path or width < SMALL else ""
    picture = f'<img loading=lazy src="{source}" width={width} height={height} alt="{text(alt)}"{kind}>'
    return f'<a class=frame href="{source}">{picture}{overlay}</a>'


def _frame(box: Box, height: int, width: int) -> str:
    """Where a zoom was taken, drawn over the picture by the page."""
    places = {"left": box.left / width, "top": box.top / height, "width": box.side / width, "height": box.side / height}
    return f'<i style="{";".join(f"{name}:{share:.2%}" for name, share in places.items())}"></i>'


def _scores(scores: Mapping[str, float]) -> str:
    shown = [name for name in COLUMNS if name in scores]
    if not shown:
        return ""
    return "<dl>" + "".join(f"<dt>{text(short_label(name))}</dt><dd>{_value(scores[name], name)}</dd>" for name in shown) + "</dl>"


def _value(value: float, name: str) -> str:
    return "exact" if value == math.inf else cell({name: value}, name)


def _json(scores: Mapping[str, Mapping[str, float]]) -> str:
    """For the script. JSON knows no infinity, so that a very large number stands in for it."""
    return json.dumps(
        {
            decoder: {
                name: None if math.isnan(value) else max(-1e300, min(1e300, value))
                for name, value in values.items()
                if name in COLUMNS
            }
            for decoder, values in scores.items()
        }
    )

"""Numbers as HTML tables: ours beside the published ones, the best of ours in bold."""

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from asym_jax.evaluation.subjects import PASTED
from asym_jax.evaluation.tables import COLUMNS, SCALE, cell

Row = Mapping[str, Any]

SAYS = {
    "images": "pictures that the row was computed from.",
    "fid": "Fréchet Inception distance to the originals, in the mode named under settings. It depends on N: compare equal N only.",
    "inception_score": "Inception score: how definite and how varied pictures look to the Inception network; mean of 10 splits.",
    "clip_score": "100 times the cosine between CLIP's embeddings of the filled box and of the example picture.",
    "lpips": "perceptual distance of whole pictures, hole included; VGG network, weights v0.1; mean over pictures.",
    "pre_error": "mean squared error of the kept pixels, those outside the hole, of 8-bit pictures on the scale of [-1, 1], "
    f"times 100,000; all kept pixels of all pictures together. {PASTED} is free of it by construction and therefore not ranked.",
    "seam": "mean jump of the error across the border of the hole, on the scale of [-1, 1]; 0 is no seam.",
    "psnr": "peak signal-to-noise ratio of whole pictures, hole included, in dB; mean over pictures not reproduced exactly.",
    "ssim": "structural similarity of whole pictures, hole included; mean over pictures.",
}
"""What the columns mean."""

NOT_RANKED = {("pre_error", PASTED)}
"""Values that are what they are by construction."""


def shown_columns(rows: Sequence[Row], published: Sequence[Row] = ()) -> list[str]:
    """The columns that at least one row has, also if it could not be measured."""
    return [name for name in COLUMNS if any(name in row for row in (*rows, *published))]


def result_table(rows: Sequence[Row], published: Sequence[Row], caption: str) -> str:
    """Measured rows, then the published ones, which are marked as such and never in bold."""
    names = shown_columns(rows, published)
    body = "".join(_rows(rows, names))
    for source in dict.fromkeys(row.get("source", "no source given") for row in published):
        known = "".join(_published(row, names) for row in published if row.get("source", "no source given") == source)
        body += f"</tbody><tbody>{_heading(f'published: {source}', names)}{known}"
    return scrolling(f"<table class=numbers><caption>{caption}</caption>{_head(names)}<tbody>{body}</tbody></table>", "results")


def bin_table(bins: Mapping[str, Sequence[Row]], caption: str) -> str:
    """The same rows once for every range of hole areas."""
    names = shown_columns([row for rows in bins.values() for row in rows])
    groups = "".join(
        f"<tbody>{_heading(f'hole {label} of the picture', names)}{''.join(_rows(rows, names))}</tbody>"
        for label, rows in bins.items()
    )
    return scrolling(f"<table class=numbers><caption>{caption}</caption>{_head(names)}{groups}</table>", "results by hole area")


def other_readings(rows: Sequence[Row]) -> str:
    """What rows hold beyond the columns, one line for each reading; empty if there is nothing."""
    keys = list(dict.fromkeys(key for row in rows for key in row if key not in COLUMNS and key != "decoder"))
    if not keys:
        return ""
    head = "".join(f"<th scope=col>{text(row['decoder'])}</th>" for row in rows)
    body = "".join(
        f"<tr><th scope=row>{text(key)}</th>" + "".join(f"<td>{text(plain(row.get(key)))}</td>" for row in rows) + "</tr>"
        for key in keys
    )
    caption = "As results.json has them: errors on the scale of [-1, 1], without a factor."
    table = (
        f"<table class=numbers><caption>{caption}</caption><thead><tr><th scope=col>reading</th>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )
    return f"<details><summary>Other readings</summary>{scrolling(table, 'other readings')}</details>"


def wins_table(names: Sequence[str], scores: Sequence[Mapping[str, Mapping[str, float]]], reference: str) -> str:
    """On how many pictures each decoder beats the reference, by score; empty if there is nobody to compare."""
    others = [name for name in names if name != reference]
    columns = [name for name in COLUMNS if any(name in picture.get(reference, {}) for picture in scores)]
    if reference not in names or not others or not columns:
        return ""
    body = ""
    for other in others:
        cells = []
        for column in columns:
            pairs = [(p.get(other, {}).get(column, math.nan), p.get(reference, {}).get(column, math.nan)) for p in scores]
            known = [(ours - theirs) * COLUMNS[column][2] for ours, theirs in pairs if not math.isnan(ours - theirs)]
            cells.append(f"<td>{sum(gain > 0 for gain in known)} of {len(known)}</td>" if known else "<td>-</td>")
        body += f"<tr><th scope=row>{text(other)}</th>{''.join(cells)}</tr>"
    head = "".join(f"<th scope=col>{text(short_label(name))}</th>" for name in columns)
    caption = f"Pictures on which a decoder is better than {reference}, of those on which both have a value."
    return scrolling(
        f"<table class=numbers><caption>{text(caption)}</caption><thead><tr><th scope=col>decoder</th>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>",
        "picture by picture",
    )


def settings_table(settings: Mapping[str, Any]) -> str:
    """Every setting, nested ones with dots in their names."""
    rows = "".join(f"<tr><th scope=row>{text(name)}</th><td>{text(plain(value))}</td></tr>" for name, value in _flat(settings))
    return scrolling(f"<table class=settings><tbody>{rows}</tbody></table>", "settings")


def meanings(names: Sequence[str]) -> str:
    """What the columns mean, as a list."""
    entries = (f"<dt>{text(short_label(name))}</dt><dd>{text(SAYS.get(name, ''))}</dd>" for name in names)
    return f"<dl class=columns>{''.join(entries)}</dl>"


def short_label(name: str) -> str:
    """A column's name without its unit."""
    return COLUMNS[name][0].removesuffix(" dB").partition(" x ")[0]


def scrolling(table: str, label: str) -> str:
    """A table that scrolls by itself where it is wider than the window."""
    return f'<div class=scroll tabindex=0 role=region aria-label="{text(label)}">{table}</div>'


def text(value: object) -> str:
    """Anything as text that cannot become markup."""
    return html.escape(str(value))


def plain(value: object) -> str:
    """A value that has no column, as a person would write it."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return "-" if value is None else str(value)


def _head(names: Sequence[str]) -> str:
    directions = {-1: "lower is better", 0: "", 1: "higher is better"}
    cells = "".join(
        f"<th scope=col>{text(COLUMNS[name][0].replace(' x ', ' × '))}<small>{directions[COLUMNS[name][2]]}</small></th>"
        for name in names
    )
    return f"<thead><tr><th scope=col>decoder</th>{cells}</tr></thead>"


def _published(row: Row, names: Sequence[str]) -> str:
    cells = "".join(f"<td>{_as_published(row, name)}</td>" for name in names)
    return f"<tr class=published><th scope=row>{text(row['decoder'])}</th>{cells}</tr>"


def _as_published(row: Row, name: str) -> str:
    """With no more digits than the authors gave; their FIDs and scores have two, other values as many as it takes."""
    shown = cell(row, name)
    return shown.rstrip("0").rstrip(".") if name in ("lpips", "pre_error") else shown


def _heading(said: str, names: Sequence[str]) -> str:
    return f"<tr class=heading><th scope=rowgroup colspan={len(names) + 1}>{text(said)}</th></tr>"


def _rows(rows: Sequence[Row], names: Sequence[str]) -> Iterator[str]:
    best = {name: _best(rows, name) for name in names}
    for row in rows:
        cells = []
        for name in names:
            shown = cell(row, name)
            wins = shown == best[name] and (name, row["decoder"]) not in NOT_RANKED
            cells.append(f"<td><b>{shown}</b></td>" if wins else f"<td>{shown}</td>")
        yield f"<tr><th scope=row>{text(row['decoder'])}</th>{''.join(cells)}</tr>"


def _best(rows: Sequence[Row], name: str) -> str | None:
    """The best value as it is shown, so that equals share the honour; None if there is nothing to choose from."""
    direction = COLUMNS[name][2]
    ranked = [row for row in rows if (name, row["decoder"]) not in NOT_RANKED and cell(row, name) != "-"]
    if not direction or len(ranked) < 2:
        return None
    best = max(ranked, key=lambda row: direction * row[name] * SCALE.get(name, 1))
    return cell(best, name) if len({cell(row, name) for row in ranked}) > 1 else None


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple) and value and all(isinstance(entry, Mapping) for entry in value):
            for number, entry in enumerate(value):
                yield from _flat(entry, f"{prefix}{name}[{number}].")
        else:
            yield f"{prefix}{name}", value

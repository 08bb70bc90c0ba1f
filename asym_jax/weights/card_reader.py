"""What a model card of ours says, so that it outlives a conversion."""

import re
from collections.abc import Iterator

from asym_jax.weights.card import MEASURED, NUMBERS, ORIGIN, PLAIN, SETTINGS, Card, signed

BORDER = re.compile(r"(?<!\\)\|")
"""Of a cell; a line within one has a backslash before it."""

PLACE = re.compile(r"^On (.*)\.$", re.MULTILINE)


def read_card(text: str) -> Card:
    """The card that `card.card_text` wrote as `text`, but for what cannot be understood; an empty one if `text` is not of ours."""
    if not signed(text):
        return Card()
    lines = "\n".join(["", *text.splitlines()])
    origin, measured = _section(lines, ORIGIN), _section(lines, MEASURED)
    said = {words: value for words, value, *_ in _rows(origin)}
    known = {field: said[words] for field, words in SETTINGS.items() if words in said}
    numbers = {field: _number(known.pop(field), int) for field in NUMBERS if field in known}
    place = PLACE.search(measured)
    return Card(
        **known,
        **numbers,
        metrics=dict(_metrics(measured)),
        measured_on=place[1] if place else None,
    )


def _section(text: str, title: str) -> str:
    """What stands between a title and the next one."""
    return text.partition(f"\n{title}\n")[2].partition("\n## ")[0]


def _rows(section: str) -> Iterator[list[str]]:
    """The cells of every row of its table that has two or more; titles are the first."""
    for line in section.splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in BORDER.split(line)[1:-1]]
        if line.startswith("| ") and len(cells) > 1:
            yield cells


def _metrics(section: str) -> Iterator[tuple[str, float]]:
    for name, *values in _rows(section):
        for prefix, value in zip(("", PLAIN), values, strict=False):
            number = _number(value, float)
            if number is not None:
                yield prefix + name, number


def _number(text: str, kind: type[int] | type[float]) -> int | float | None:
    try:
        return kind(text.replace(",", ""))
    except ValueError:
        return None

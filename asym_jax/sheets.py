"""Sheets of pictures: one row for each example, one labelled column for each version of it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

SMALLEST_CELL = 160
"""Pictures are enlarged by a whole factor until their shorter side has at least this many pixels."""
MARGIN = 6
HEADER = 26


def masked_pixels(pixels: UInt8[np.ndarray, "b H W 3"], mask: Float[np.ndarray, "b H W 1"]) -> UInt8[np.ndarray, "b H W 3"]:
    """What the decoder may see: the hole is mid-grey, which is 0 in [-1, 1]."""
    return np.round(pixels * (1 - mask) + 127.5 * mask).astype(np.uint8)


def draw_sheet(columns: Mapping[str, UInt8[np.ndarray, "b H W 3"]]) -> Image.Image:
    """One row per picture and one column per entry of `columns`, headed by its name."""
    count, height, width, _ = next(iter(columns.values())).shape
    factor = max(1, -(-SMALLEST_CELL // min(height, width)))
    cell = (width * factor, height * factor)
    size = (MARGIN + len(columns) * (cell[0] + MARGIN), HEADER + count * (cell[1] + MARGIN))
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    for x, (label, pictures) in enumerate(columns.items()):
        left = MARGIN + x * (cell[0] + MARGIN)
        pen.text((left, 5), label, fill="black", font=font)
        for y, picture in enumerate(pictures):
            enlarged = Image.fromarray(picture).resize(cell, Image.Resampling.NEAREST)
            sheet.paste(enlarged, (left, HEADER + y * (cell[1] + MARGIN)))
    return sheet


def save_picture(picture: Image.Image, path: Path) -> None:
    """Writes a PNG through a temporary name, so that a reader never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    picture.save(temporary, format="PNG")
    temporary.replace(path)

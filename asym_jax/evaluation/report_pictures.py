"""What a report shows beside the pictures themselves: differences made visible, and where to look closely."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, UInt8
from PIL import Image

GAIN = 10
"""How much stronger than it is a difference is shown."""
OUTLINE = (0, 200, 255)
SMALLEST_ZOOM = 200
"""Crops are enlarged by a whole factor until they have at least this many pixels."""

Pixels = UInt8[np.ndarray, "H W 3"]
Hole = Bool[np.ndarray, "H W"]


class Box(NamedTuple):
    """A square of pixels."""

    top: int
    left: int
    side: int


def difference(original: Pixels, version: Pixels, hole: Hole | None) -> Pixels:
    """|version - original| times `GAIN`, clipped at 255, with the border of the hole (its own pixels) drawn in `OUTLINE`."""
    strong = np.abs(version.astype(np.int32) - original.astype(np.int32)) * GAIN
    shown = np.minimum(strong, 255).astype(np.uint8)
    if hole is not None:
        shown[_border(hole)] = OUTLINE
    return shown


def worst_box(original: Pixels, version: Pixels, hole: Hole | None) -> Box | None:
    """Where to zoom in: a quarter of the picture's side around the block of kept pixels with the largest squared error.

    The block has half of the box's side. None if no kept pixel differs.
    """
    height, width = original.shape[:2]
    side = min(max(16, min(height, width) // 4), height, width)
    block = max(1, side // 2)
    errors = np.square(version.astype(np.int64) - original.astype(np.int64)).sum(axis=2)
    if hole is not None:
        errors[hole] = 0
    if not errors.any():
        return None
    sums = _window_sums(errors, block)
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    margin = (side - block) // 2
    return Box(min(max(int(top) - margin, 0), height - side), min(max(int(left) - margin, 0), width - side), side)


def alike(first: Box, second: Box) -> bool:
    """Whether two boxes of one size show half of the same pixels or more."""
    height, width = (first.side - abs(a - b) for a, b in ((first.top, second.top), (first.left, second.left)))
    return min(height, width) > 0 and 2 * height * width >= first.side**2


def zoom(picture: Pixels, box: Box) -> Image.Image:
    """That part of the picture, every pixel a square of several, so that nothing is smoothed over."""
    part = Image.fromarray(np.ascontiguousarray(picture[box.top : box.top + box.side, box.left : box.left + box.side]))
    factor = max(1, -(-SMALLEST_ZOOM // box.side))
    return part.resize((box.side * factor,) * 2, Image.Resampling.NEAREST)


def _window_sums(values: Int64[np.ndarray, "H W"], side: int) -> Int64[np.ndarray, "h w"]:
    """Sums over all squares of that side; entry (i, j) is the one that begins there."""
    total = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    return total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]


def _border(hole: Hole) -> Hole:
    """Pixels of the hole with a kept neighbour."""
    padded = np.pad(hole, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return hole & ~inner

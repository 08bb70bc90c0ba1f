"""How pictures of any size become the squares that are evaluated, by name, so that a report can say it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from asym_jax.data.crops import Square, centre_crop
from asym_jax.data.pictures import Picture
from asym_jax.errors import InputError

MaskPixels = UInt8[np.ndarray, "H W"]


class Sizing(NamedTuple):
    """A rule; `picture` raises ValueError for a picture it cannot take."""

    name: str
    says: str  # for reports
    picture: Callable[[Picture, int], Square]


def find_sizing(name: str) -> Sizing:
    """The rule of that name. Raises InputError if there is none."""
    if name not in SIZINGS:
        raise InputError(f"unknown sizing {name!r}: expected one of {', '.join(SIZINGS)}")
    return SIZINGS[name]


def square_mask(mask: MaskPixels, size: int) -> UInt8[np.ndarray, "S S"]:
    """The central square of a mask, where every rule takes it from the picture too; nearest, so that a hard mask stays hard."""
    height, width = mask.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(np.ascontiguousarray(mask[top : top + side, left : left + side]))
    return np.asarray(square.resize((size, size), Image.Resampling.NEAREST))


def _centre(picture: Picture, size: int) -> Square:
    return centre_crop(picture, size=size)


def _bicubic(picture: Picture, size: int) -> Square:
    height, width = picture.shape[:2]
    if min(height, width) != size:
        scale = size / min(height, width)
        shape = (round(width * scale), round(height * scale))
        picture = np.array(Image.fromarray(picture).resize(shape, Image.Resampling.BICUBIC))
    top, left = (picture.shape[0] - size) // 2, (picture.shape[1] - size) // 2
    return picture[top : top + size, left : left + size].copy()


def _enlarge(picture: Picture, size: int) -> Square:
    if size < 256:
        raise ValueError(f"enlarge_256 makes pictures of 256 pixels and more, not of {size}")
    small = centre_crop(picture, size=256)
    return small if size == 256 else np.array(Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC))


def _exact(picture: Picture, size: int) -> Square:
    height, width = picture.shape[:2]
    if (height, width) != (size, size):
        raise ValueError(f"it is {width} x {height} pixels, and must be {size} x {size}")
    return picture.copy()


SIZINGS = {
    rule.name: rule
    for rule in (
        Sizing("centre", "central square of the shorter side; area average when shrinking, bilinear when enlarging", _centre),
        Sizing("bicubic", "shorter side resized with Pillow's bicubic filter, as LaMa does; then the central square", _bicubic),
        Sizing("enlarge_256", "central square at 256 pixels, then bicubic enlarging, as the paper's Places pictures", _enlarge),
        Sizing("exact", "as stored; other sizes are refused", _exact),
    )
}

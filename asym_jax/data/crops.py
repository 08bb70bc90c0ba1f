"""Square crops, resized to the size that the networks see."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from asym_jax.data.pictures import Picture

Square = UInt8[np.ndarray, "S S 3"]
"""A crop as the networks see it."""


def random_crop(picture: Picture, *, size: int, scale: tuple[float, float], rng: np.random.Generator) -> Square:
    """A square of side int(min(H, W) * U(scale)) anywhere in the picture, resized to (size, size, 3).

    This is the whole augmentation of the reference: no flip and no change of colours.
    """
    height, width = picture.shape[:2]
    side = max(1, int(min(height, width) * rng.uniform(*scale)))
    top = int(rng.integers(height - side, endpoint=True))
    left = int(rng.integers(width - side, endpoint=True))
    return _square(picture, top, left, side, size)


def centre_crop(picture: Picture, *, size: int) -> Square:
    """The central square of the shorter side, resized to (size, size, 3)."""
    height, width = picture.shape[:2]
    side = min(height, width)
    return _square(picture, (height - side) // 2, (width - side) // 2, side, size)


def _square(picture: Picture, top: int, left: int, side: int, size: int) -> Square:
    """Averages over the exact area of each new pixel when shrinking, bilinear when enlarging, as OpenCV's INTER_AREA does.

    Pillow rounds after each of its two passes, so results may be off by one level.
    """
    crop = picture[top : top + side, left : left + side]
    if side == size:
        return crop.copy()
    method = Image.Resampling.BOX if side > size else Image.Resampling.BILINEAR
    return np.array(Image.fromarray(np.ascontiguousarray(crop)).resize((size, size), method))

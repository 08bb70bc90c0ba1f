"""Anything that holds a picture, as a picture."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from asym_jax.data.pictures import Picture, UnreadablePicture, decode_picture, read_picture, upright_rgb

KEYS = ("image", "img", "picture", "jpg", "jpeg", "png", "webp")
"""Where a record keeps its picture, best first."""

Content = object
"""See `to_picture`."""


def to_picture(content: Content, name: str) -> Picture:
    """The picture in one element of a data set; `name` is what errors call it.

    * bytes: an encoded file (JPEG, PNG, ...), read as `read_picture` reads one; a `Path`: the file itself;
    * a Pillow picture of any mode;
    * an array (H, W, 3), (H, W, 4) with transparency, or grey (H, W) or (H, W, 1): uint8, or floating-point in [0, 1];
    * a mapping with one of these under `image` (or another of `KEYS`), or with `bytes` and `path` as Hugging Face writes it;
    * a tuple or list that begins with one of these, as in (picture, label).

    Raises:
        UnreadablePicture: it is none of these, or broken. Floating-point pixels that are not finite or not in
            [0, 1] are broken: no other range is agreed upon.
    """
    if isinstance(content, bytes | bytearray | memoryview):
        return decode_picture(bytes(content), name)
    if isinstance(content, Path):
        return read_picture(content)
    if isinstance(content, Mapping):
        return to_picture(_inside(content, name), name)
    if isinstance(content, tuple | list) and content:
        return to_picture(content[0], name)
    try:
        if isinstance(content, Image.Image):
            return np.array(upright_rgb(content))
        if hasattr(content, "__array__"):
            return _from_array(np.asarray(content))
    except Exception as error:
        raise UnreadablePicture(name, f"{type(error).__name__}: {error}") from error
    raise UnreadablePicture(name, f"{type(content).__name__} is no picture")


def _inside(record: Mapping[str, Content], name: str) -> Content:
    if record.get("bytes") is not None:
        return record["bytes"]
    if isinstance(record.get("path"), str):
        return Path(record["path"])
    for key in KEYS:
        if record.get(key) is not None:
            return record[key]
    raise UnreadablePicture(name, f"no picture under {', '.join(KEYS)}; it has {', '.join(map(str, record)) or 'nothing'}")


def _from_array(array: np.ndarray) -> Picture:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise ValueError(f"shape {array.shape} is not (H, W, 3)")
    if np.issubdtype(array.dtype, np.floating):
        array = _to_bytes(array)
    if array.dtype != np.uint8:
        raise ValueError(f"pixels of type {array.dtype}; expected uint8, or floating-point in [0, 1]")
    if array.shape[2] == 3:
        return array.copy()
    return np.array(upright_rgb(Image.fromarray(array.squeeze(2) if array.shape[2] == 1 else array)))


def _to_bytes(array: np.ndarray) -> np.ndarray:
    if not np.isfinite(array).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(array))} values are NaN or infinite")
    smallest, largest = array.min(), array.max()
    if smallest < 0 or largest > 1:
        raise ValueError(f"floating-point pixels from {smallest:g} to {largest:g}; the agreed range is [0, 1]")
    return np.rint(array.astype(np.float64) * 255).astype(np.uint8)

"""Picture files: finding them, and reading every common kind as plain 8-bit RGB."""

import io
import os
import re
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from asym_jax.errors import InputError

Picture = UInt8[np.ndarray, "H W 3"]
"""One decoded picture, RGB in 0..255; it may be read-only."""

EXTENSIONS = frozenset({".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

_PILLOW_WARNINGS = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


class UnreadablePicture(Exception):
    """A file or a record that is no picture, or a broken one."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(path, reason)  # both, so that it survives the way out of another process
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def read_picture(path: Path) -> Picture:
    """Decodes the (first) picture of a file, turned upright by its EXIF orientation.

    Grey, CMYK and palette pictures become RGB, 16-bit grey is scaled by 255/65535,
    and transparent pixels are composited on white.

    Raises:
        UnreadablePicture: the file is missing, broken, truncated, far too large, or no picture.
    """
    return _read(path, path)


def decode_picture(content: bytes, name: str) -> Picture:
    """`read_picture` of a file that is in memory already; `name` is what errors call it."""
    return _read(io.BytesIO(content), name)


def upright_rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode as `read_picture` would give it: turned by its EXIF orientation, 8-bit RGB.

    Raises:
        ValueError: its pixels are floating-point numbers.
        Exception: whatever Pillow's decoders stumble over, if its file was not decoded yet.
    """
    _silence_pillow()
    return _as_rgb(ImageOps.exif_transpose(image))


def _read(file: Path | io.BytesIO, name: Path | str) -> Picture:
    _silence_pillow()
    try:
        with Image.open(file) as image:
            ImageOps.exif_transpose(image, in_place=True)  # the other way would copy every picture
            return np.asarray(_as_rgb(image))
    except Exception as error:  # Pillow's decoders raise whatever they stumble over: OSError, SyntaxError, struct.error, ...
        raise UnreadablePicture(name, f"{type(error).__name__}: {error}") from error


def list_pictures(path: Path) -> list[Path]:
    """The pictures of a folder and all folders in it, sorted; or the lines of a `.txt` file, in its order.

    Hidden files and folders are passed over. Lines of a text file are relative to its folder; empty ones are skipped.

    Raises:
        InputError: there is no such folder or text file, or nothing in it.
    """
    if path.is_dir():
        found = _walk(path)
        if not found:
            raise InputError(f"no pictures in {path}: expected files ending in {', '.join(sorted(EXTENSIONS))}")
        return found
    if not path.exists():
        raise InputError(f"no such folder of pictures: {path}")
    if path.suffix.lower() != ".txt":
        raise InputError(f"{path} is neither a folder of pictures nor a .txt file with one path per line")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the list of pictures {path}: {error}") from error
    listed = [path.parent / line.strip() for line in lines if line.strip()]
    if not listed:
        raise InputError(f"the list of pictures {path} is empty")
    return listed


def _walk(folder: Path) -> list[Path]:
    found, visited = [], set()
    for here, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in visited:  # a link back to a parent
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(here, name) for name in files if not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS]
    return sorted(found)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    if image.mode.startswith("I"):  # 16-bit grey, or 16-bit values in 32-bit pixels; Pillow itself would clip at 255
        wide = np.clip(np.asarray(image, np.int64), 0, 65535)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        upper = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", upper.size, "white"), upper).convert("RGB")
    if image.mode == "RGB":
        image.load()
        return image
    return image.convert("RGB")


def _silence_pillow() -> None:
    """Ignores Pillow's warnings from here on; `warnings.catch_warnings` would not be safe in reader threads."""
    if _PILLOW_WARNINGS not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")

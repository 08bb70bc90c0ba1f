"""Pictures and their masks, in batches of one fixed shape."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from asym_jax.data.crops import centre_crop
from asym_jax.data.masks import RECIPES, fixed_masks
from asym_jax.data.pictures import EXTENSIONS, UnreadablePicture, list_pictures, read_picture
from asym_jax.errors import InputError


class Pairs(NamedTuple):
    """Square pictures with masks, and what could not be read."""

    names: list[str]
    pixels: UInt8[np.ndarray, "n S S 3"]
    masks: Float[np.ndarray, "n S S 1"]
    skipped: dict[str, str]


class Batch(NamedTuple):
    pixels: UInt8[np.ndarray, "b S S 3"]
    masks: Float[np.ndarray, "b S S 1"]
    valid: Bool[np.ndarray, " b"]  # False on rows that only fill up the batch


def load_pairs(images: Path, masks: str, *, size: int, limit: int | None) -> Pairs:
    """Reads pictures, cuts out their central squares at `size` pixels, and gives each its mask.

    Args:
        images: a folder, or a text file with one path per line.
        masks: a recipe's name (`thick_256`), or a folder with a mask for each
            picture under the same stem, white where the decoder may invent.

    Raises:
        InputError: nothing can be read, or a mask is missing or of another shape than its picture.
    """
    paths = list_pictures(images)[:limit]
    kept, shapes, squares, skipped = [], [], [], {}
    for path in paths:
        try:
            picture = read_picture(path)
        except UnreadablePicture as error:
            skipped[str(path)] = error.reason
            continue
        kept.append(path)
        shapes.append(picture.shape[:2])
        squares.append(centre_crop(picture, size=size))
    if not kept:
        first, reason = next(iter(skipped.items()))
        raise InputError(f"--images {images}: none of {len(paths)} pictures can be read; the first is {first} ({reason})")
    if masks in RECIPES:
        drawn = fixed_masks(masks, count=len(kept), size=size)
    else:
        drawn = np.stack([_read_mask(Path(masks), path, shape, size) for path, shape in zip(kept, shapes, strict=True)])
    return Pairs([path.name for path in kept], np.stack(squares), drawn, skipped)


def in_batches(pairs: Pairs, batch_size: int) -> Iterator[Batch]:
    """All pairs in order; the last batch is filled up with zeros that are marked as such."""
    for start in range(0, len(pairs.names), batch_size):
        pixels, masks = pairs.pixels[start : start + batch_size], pairs.masks[start : start + batch_size]
        rest = [(0, batch_size - len(pixels))] + [(0, 0)] * 3
        yield Batch(np.pad(pixels, rest), np.pad(masks, rest), np.arange(batch_size) < len(pixels))


def _read_mask(folder: Path, picture: Path, shape: tuple[int, int], size: int) -> Float[np.ndarray, "S S 1"]:
    if not folder.is_dir():
        raise InputError(f"--masks {folder} is neither a folder nor one of {', '.join(RECIPES)}")
    found = sorted(path for path in folder.iterdir() if path.stem == picture.stem and path.suffix.lower() in EXTENSIONS)
    if not found:
        raise InputError(f"--masks {folder} has no mask for {picture.name}; it needs the same name before the extension")
    try:
        mask = read_picture(found[0])
    except UnreadablePicture as error:
        raise InputError(f"--masks {folder}: {found[0].name} cannot be read ({error.reason})") from error
    if mask.shape[:2] != shape:
        sizes = f"{found[0].name} is {_size(mask.shape)}, its picture {picture.name} is {_size(shape)}"
        raise InputError(f"--masks {folder}: {sizes}; they must agree")
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    square = Image.fromarray(mask[top : top + side, left : left + side, 0])
    # Nearest, so that a hard mask stays hard; 128 and above is a hole.
    return (np.asarray(square.resize((size, size), Image.Resampling.NEAREST))[..., None] >= 128).astype(np.float32)


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]} x {shape[0]} pixels"

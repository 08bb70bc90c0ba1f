"""Pictures, masks and words as the pipelines take them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Array, Float, Int, UInt8
from PIL import Image

from asym_jax.errors import InputError
from asym_jax.models.clip_vision import DEVIATION, MEAN

Picture = Image.Image | UInt8[np.ndarray, "..."] | Float[np.ndarray, "..."]
"""Pillow's, 8-bit, or in [-1, 1]; arrays are (height, width, 3), which `as_images` checks."""

MaskPicture = Image.Image | UInt8[np.ndarray, "..."] | Float[np.ndarray, "..."]
"""Pillow's, 8-bit, or in [0, 1]; with or without a last axis of 1. White is to be regenerated."""

AnyImages = Float[Array | np.ndarray, "b H W 3"]
AnyMask = Float[Array | np.ndarray, "b H W 1"]
"""`Images` and `Mask`, on the host or on devices."""

OneOrAnyImages = Float[Array | np.ndarray, "#b H W 3"]
OneOrAnyMask = Float[Array | np.ndarray, "#b H W 1"]
"""The same; one may stand for a whole batch."""


Words = Int[np.ndarray, "b t"]
"""Prompts as numbers."""


def as_images(pictures: Sequence[Picture]) -> Float[np.ndarray, "b H W 3"]:
    """Pictures in [-1, 1], never resized.

    Raises:
        InputError: they have several sizes or not three channels, or floats lie beyond [-1, 1].
    """
    return _stack([_image(picture) for picture in pictures], "pictures")


def as_masks(masks: Sequence[MaskPicture]) -> Float[np.ndarray, "b H W 1"]:
    """Masks in [0, 1], soft ones as they are, never resized.

    Raises:
        InputError: they have several sizes, or floats lie beyond [0, 1].
    """
    return _stack([_mask(mask) for mask in masks], "masks")


def as_pairs(
    pictures: Sequence[Picture], masks: Sequence[MaskPicture], *, multiple: int
) -> tuple[Float[np.ndarray, "b H W 3"], Float[np.ndarray, "m H W 1"]]:
    """Pictures and masks of one size that fits the network; how many there must be is for the caller to say.

    Raises:
        InputError: as `as_images`, `as_masks` and `require_size`, or the masks have another size than the pictures.
    """
    image, mask = as_images(pictures), as_masks(masks)
    (height, width), (down, across) = image.shape[1:3], mask.shape[1:3]
    if (height, width) != (down, across):
        raise InputError(
            f"the pictures have {height} x {width} pixels and the masks {down} x {across}: give masks of the pictures' size "
            "(nothing is resized here, because every kept pixel counts)"
        )
    require_size(height, width, multiple)
    return image, mask


def as_examples(pictures: Sequence[Image.Image], *, side: int = 224) -> Float[np.ndarray, "b S S 3"]:
    """Pictures as Paint-by-Example's test bench gives them to CLIP: squeezed into a square (bicubic), and normalised."""
    squares = [picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC) for picture in pictures]
    unit = np.stack([np.asarray(square, np.float32) / 255 for square in squares])
    return (unit - np.float32(MEAN)) / np.float32(DEVIATION)


def token_ids(tokenizer: Any, prompts: Sequence[str]) -> Words:
    """Words as numbers, cut or filled up to the tokenizer's length."""
    length = tokenizer.model_max_length
    words = tokenizer(list(prompts), padding="max_length", max_length=length, truncation=True, return_tensors="np")
    return words.input_ids.astype(np.int32)


def word_ids(tokenizer: Any, prompts: Sequence[str], negative_prompts: Sequence[str] | None) -> tuple[Words, Words]:
    """Numbers of what is wanted, and of what is not: nothing, unless it is given.

    Raises:
        InputError: there are no prompts or not as many negative ones, or a string stands where a list belongs.
    """
    for name, words in (("prompts", prompts), ("negative_prompts", negative_prompts)):
        if isinstance(words, str):  # a sequence of strings too: of its letters
            raise InputError(f"{name} must be a list of strings, and is the string {words!r}: put it in a list, [{words!r}]")
    if not len(prompts):
        raise InputError("there are no prompts: give one for each result")
    negative = [""] * len(prompts) if negative_prompts is None else negative_prompts
    if len(negative) != len(prompts):
        raise InputError(f"{len(prompts)} prompts and {len(negative)} negative prompts: give one for each prompt, or none at all")
    return token_ids(tokenizer, prompts), token_ids(tokenizer, negative)


def places(index: Sequence[int] | None, count: int) -> Int[np.ndarray, " b"]:
    """Where each result is in its data set: counted from 0, unless given. Raises InputError unless there is one for each."""
    found = np.arange(count) if index is None else np.asarray(index)
    if found.shape != (count,):
        raise InputError(f"index has shape {found.shape}, and there are {count} results: give one number for each")
    return found


def to_pil(images: Float[np.ndarray, "b H W 3"]) -> list[Image.Image]:
    """Pictures in [-1, 1], rounded to 8 bits."""
    unit = np.clip(np.asarray(images, np.float32) / 2 + 0.5, 0, 1)
    return [Image.fromarray(picture) for picture in np.round(unit * 255).astype(np.uint8)]


def require_size(height: int, width: int, multiple: int) -> None:
    """Raises InputError unless both sides are multiples of what network and autoencoder halve them by."""
    if height % multiple or width % multiple:
        down, across = (max(multiple, round(side / multiple) * multiple) for side in (height, width))
        raise InputError(
            f"pictures of {height} x {width} pixels do not go through the network, which needs multiples of {multiple}; "
            f"resize pictures and masks to {down} x {across} (nothing is resized here, because every kept pixel counts)"
        )


def _image(picture: Picture) -> Float[np.ndarray, "H W 3"]:
    array = np.asarray(picture.convert("RGB") if isinstance(picture, Image.Image) else picture)
    if array.ndim != 3 or array.shape[-1] != 3:
        raise InputError(
            f"an array must be (height, width, 3) to be a picture; this one has shape {array.shape}: "
            "give it three channels, or Pillow's picture, which is converted here"
        )
    if array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(127.5) - 1
    if array.size and not (array.min() >= -1 and array.max() <= 1):  # nor NaN
        raise InputError(f"a picture of floats must be in [-1, 1]; this one has {array.min():.3g} to {array.max():.3g}")
    return array.astype(np.float32)


def _mask(mask: MaskPicture) -> Float[np.ndarray, "H W 1"]:
    array = np.asarray(mask.convert("L") if isinstance(mask, Image.Image) else mask)
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[-1] != 1:
        raise InputError(f"a mask has one channel; this one has shape {array.shape}")
    if array.dtype == np.uint8:
        return array.astype(np.float32) / 255
    if array.size and not (array.min() >= 0 and array.max() <= 1):
        raise InputError(f"a mask of floats must be in [0, 1]; this one has {array.min():.3g} to {array.max():.3g}")
    return array.astype(np.float32)


def _stack(arrays: list[np.ndarray], kind: str) -> np.ndarray:
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1:
        raise InputError(f"the {kind} of a batch must have one size; these have {sorted(shapes) or 'none'}")
    return np.stack(arrays)

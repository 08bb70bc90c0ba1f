"""CLIP score between pictures: whether what was painted into a box looks like the example (Paint-by-Example's test bench).

100 times the cosine of two ViT-B/32 embeddings, of the box cut out of the result and of
the example. Not to be mixed with CLIPScore between picture and text, and not with
CLIP's own preprocessing, which keeps the aspect and cuts off what is beyond a square.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32, UInt8
from PIL import Image

from asym_jax.arrays import Images, Params, PerImage, Pixels
from asym_jax.models.clip_vision import DEVIATION, MEAN, ClipVision

Variant = Literal["paint_by_example", "paint_by_example_antialiased"]
"""How the box is resized: the test bench leaves it to torchvision, which interpolated between neighbours before 0.17
(the paper's version), and has smoothed when shrinking since then."""


class Box(NamedTuple):
    """Rows top..bottom-1 and columns left..right-1."""

    top: int
    bottom: int
    left: int
    right: int


def box_of(mask: Bool[np.ndarray, "H W"]) -> Box:
    """The box around a rectangular hole (True), without its last row and column: the test bench loses them, and so do we.

    Raises:
        ValueError: there is no hole, or nothing is left of it.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0 or rows[0] == rows[-1] or columns[0] == columns[-1]:
        raise ValueError(f"the hole must be at least two pixels high and wide; it covers {len(rows)} rows of {mask.shape}")
    return Box(int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1]))


def region_inputs(
    pixels: Pixels, boxes: Int32[Array, "b 4"], *, side: int = 224, variant: Variant = "paint_by_example"
) -> Float[Array, "b {side} {side} 3"]:
    """Boxes (rows as in `Box`) cut out of results, stretched to `side` pixels whatever their aspect, and normalised.

    Every box may have another size: the resize is a product with matrices that are made on the device.
    """
    smooth = variant == "paint_by_example_antialiased"
    rows = _stretching(boxes[:, 0], boxes[:, 1], old=pixels.shape[1], new=side, smooth=smooth)
    columns = _stretching(boxes[:, 2], boxes[:, 3], old=pixels.shape[2], new=side, smooth=smooth)
    exact = jax.lax.Precision.HIGHEST
    narrow = jnp.einsum("bxw,bhwc->bhxc", columns, pixels.astype(jnp.float32), precision=exact)
    return normalised(jnp.einsum("byh,bhxc->byxc", rows, narrow, precision=exact) / 255)


def _stretching(
    first: Int32[Array, " b"], end: Int32[Array, " b"], *, old: int, new: int, smooth: bool
) -> Float[Array, "b {new} {old}"]:
    """Bilinear weights with half-pixel centres, over the pixels `first` to `end - 1` of `old`."""
    first, end = (side.astype(jnp.float32).reshape(-1, 1, 1) for side in (first, end))
    scale = (end - first) / new
    centres = first + (jnp.arange(new, dtype=jnp.float32).reshape(1, -1, 1) + 0.5) * scale - 0.5
    places = jnp.arange(old, dtype=jnp.float32).reshape(1, 1, -1)
    widening = jnp.maximum(scale, 1.0) if smooth else 1.0
    weights = jnp.maximum(1 - jnp.abs(places - centres) / widening, 0)
    # What lies beyond the box gives its share to what lies within.
    weights = jnp.where((places >= first) & (places < end), weights, 0)
    return weights / jnp.sum(weights, axis=-1, keepdims=True)


def reference_pixels(example: UInt8[np.ndarray, "H W 3"], *, side: int = 224) -> UInt8[np.ndarray, "{side} {side} 3"]:
    """An example as the test bench shrinks it: by Pillow's bicubic filter, whatever the aspect."""
    return np.asarray(Image.fromarray(example).resize((side, side), Image.Resampling.BICUBIC))


def reference_inputs(pixels: Pixels) -> Images:
    """What `reference_pixels` gave, normalised."""
    return normalised(pixels.astype(jnp.float32) / 255)


def normalised(images: Images) -> Images:
    """Pictures in [0, 1] as CLIP expects them."""
    mean, deviation = (jnp.array(values, jnp.float32).reshape(1, 1, 1, 3) for values in (MEAN, DEVIATION))
    return (images - mean) / deviation


def embedded(model: ClipVision, params: Params, inputs: Images) -> Float[Array, "b p"]:
    """Where CLIP puts each picture, in float32 whatever the accelerator's default; `model` needs its projection."""
    return model.apply({"params": params}, inputs).projected


def clip_score(results: Float[Array, "b p"], examples: Float[Array, "b p"]) -> PerImage:
    """100 times the cosine of each pair of embeddings, between -100 and 100; NaN for an embedding that is 0."""
    a, b = (features / jnp.linalg.norm(features, axis=-1, keepdims=True) for features in (results, examples))
    return 100 * jnp.sum(a * b, axis=-1)

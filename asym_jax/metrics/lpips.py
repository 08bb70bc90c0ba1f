"""LPIPS of pictures as files store them, over VGG16 (which the paper reports) or AlexNet."""

import jax.numpy as jnp

from asym_jax.arrays import Params, PerImage, Pixels
from asym_jax.models.lpips import Heads, Trunk, activations, lpips_distance


def picture_lpips(trunk: Trunk, params: Params, heads: Heads, pixels: Pixels, reconstruction: Pixels) -> PerImage:
    """The distance of each pair, in float32 whatever the accelerator's default; 0 for equal pictures.

    Nothing is resized. Raises ValueError below 16 (VGG16) or 31 (AlexNet) pixels a side.
    """
    a, b = (activations(trunk, params, array.astype(jnp.float32) / 127.5 - 1) for array in (pixels, reconstruction))
    # A compiler may round the two passes differently, which would leave 1e-16.
    equal = jnp.all(pixels == reconstruction, axis=(1, 2, 3))
    return jnp.where(equal, 0.0, lpips_distance(heads, a, b))

"""LPIPS of pictures as files store them, over VGG16 (which the paper reports) or AlexNet."""

import jax
import jax.numpy as jnp

from asym_jax.arrays import Params, PerImage, Pixels
from asym_jax.models.lpips import Heads, Trunk, activations, lpips_distance


def picture_lpips(trunk: Trunk, params: Params, heads: Heads, pixels: Pixels, reconstruction: Pixels) -> PerImage:
    """The distance of each pair, in float32 whatever the accelerator's default; 0 for equal pictures.

    Nothing is resized. Raises ValueError below 16 (VGG16) or 31 (AlexNet) pixels a side.
    """
    # Both pictures of a pair go through the same operations in one batch, so that equal ones differ by nothing;
    # side by side, so that no device needs what another one has.
    pairs = jnp.stack([pixels, reconstruction], axis=1)
    together = activations(trunk, params, pairs.reshape(-1, *pixels.shape[1:]).astype(jnp.float32) / 127.5 - 1)
    # Else the compiler fuses the difference with the division before it, and rounds only one of its two sides.
    together = jax.lax.optimization_barrier(together)
    apart = [features.reshape(-1, 2, *features.shape[1:]) for features in together]
    return lpips_distance(heads, [pair[:, 0] for pair in apart], [pair[:, 1] for pair in apart])

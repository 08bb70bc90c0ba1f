"""Mask-guided blending (MGB): where the latent path and the pixel path meet.

The latent path fills the hole, the condition encoder remembers everything else.
A mask is 1 inside the hole and 0 on pixels that must survive; values between
mix both.
"""

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from asym_jax.arrays import Features, Mask
from asym_jax.models.blocks import convolution

OneOrAllFeatures = Float[Array, "#b h w c"]
SmallMasks = Float[Array, "#b h w 1"]
"""Of every picture, or of one that stands for the whole batch."""


def shrink_mask(mask: Mask, *, height: int, width: int) -> Float[Array, "b h w 1"]:
    """Picks every k-th pixel, as PyTorch's nearest-neighbour `interpolate` does.

    `jax.image.resize(..., "nearest")` would pick other pixels (half-pixel centres).
    """
    return mask[:, :: mask.shape[1] // height, :: mask.shape[2] // width]


def blend_by_addition(latent_path: Features, condition: OneOrAllFeatures, mask: SmallMasks) -> Features:
    """latent_path * mask + condition * (1 - mask), the published form (section 3.2 of the paper)."""
    return latent_path * mask + condition * (1 - mask)


class ConcatenationBlend(nn.Module):
    """The paper's ablation: both masked branches side by side, and a 1x1 convolution back to the width."""

    channels: int
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        self.conv = convolution(2 * self.channels, self.channels, kernel=1, dtype=self.dtype)

    def __call__(self, latent_path: Features, condition: OneOrAllFeatures, mask: SmallMasks) -> Features:
        visible = jnp.broadcast_to(condition * (1 - mask), latent_path.shape)
        return self.conv(jnp.concatenate([latent_path * mask, visible], axis=-1))

"""The mask-conditioned, asymmetric decoder (arXiv 2306.04632, section 3)."""

from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from asym_jax.arrays import Features, Images, Latents, Mask, NewFeatures, Pyramid
from asym_jax.models.blend import ConcatenationBlend, blend_by_addition, shrink_mask
from asym_jax.models.blocks import MidBlock, UpBlock, at_each_level, convolution
from asym_jax.models.condition import ConditionEncoder
from asym_jax.models.normalisation.layer import GroupNorm, Kernel
from asym_jax.models.remat import Remat, forgetful


class Decoder(nn.Module):
    """Maps latents (after `post_quant_conv`) to pictures, guided by visible pixels if there are any.

    Condition features are blended in at the entry of every level and once more
    before the last normalisation. Without `image` and `mask` this is the plain
    decoder of Stable Diffusion's autoencoder. With `blend="add"`, a mask of ones
    gives the plain decoder too, and a mask of zeros makes the latents irrelevant.

    Attributes:
        channels: widths per level, full resolution first; any number of levels.
        layers_per_block: residual blocks per level, less one.
        conditional: whether the parameters of the condition encoder exist.
        blend: "add" (published) or "concatenate" (the paper's ablation).
        attention: which levels have self-attention, in the order of `channels`; empty for none.
        mid_attention: whether the middle has.
        remat: what the backward pass computes again.
        norm: who writes the normalisations' passes over features.
    """

    channels: tuple[int, ...]
    layers_per_block: int
    latent_channels: int
    norm_groups: int
    conditional: bool = False
    blend: Literal["add", "concatenate"] = "add"
    attention: tuple[bool, ...] = ()
    mid_attention: bool = True
    dtype: DTypeLike = jnp.float32
    remat: Remat = "none"
    norm: Kernel = "xla"

    def setup(self) -> None:
        deep_first = self.channels[::-1]
        widths = (deep_first[0], *deep_first)
        last = len(self.channels) - 1
        attention = at_each_level(self.attention, len(self.channels))[::-1]
        self.conv_in = convolution(self.latent_channels, deep_first[0], dtype=self.dtype)
        self.mid_block = MidBlock(deep_first[0], self.norm_groups, self.dtype, self.mid_attention, self.remat, self.norm)
        self.up_blocks = [
            UpBlock(
                widths[i],
                widths[i + 1],
                self.layers_per_block + 1,
                self.norm_groups,
                upsample=i < last,
                dtype=self.dtype,
                attention=attention[i],
                remat=self.remat,
                norm=self.norm,
            )
            for i in range(len(self.channels))
        ]
        self.conv_norm_out = GroupNorm(self.norm_groups, silu=True, dtype=self.dtype, kernel=self.norm)
        self.conv_out = convolution(self.channels[0], 3, dtype=self.dtype)
        if self.conditional:
            self.condition_encoder = ConditionEncoder(self.channels, self.dtype)
            if self.blend == "concatenate":
                self.condition_blends = [ConcatenationBlend(width, self.dtype) for width in widths]

    def features(self, latents: Latents, image: Images | None = None, mask: Mask | None = None) -> NewFeatures:
        """All of the decoder but its last convolution.

        Raises:
            ValueError: only one of `image` and `mask` was given, the sizes do not
                match the latents, or this decoder has no condition encoder.
        """
        pyramid = self._condition(latents, image, mask)
        features = self.begin(latents)
        for i, block in enumerate(self.up_blocks):
            features = block(self._blend(i, features, pyramid, mask))
        features = self._blend(len(self.up_blocks), features, pyramid, mask)
        return forgetful(lambda self, features: self.conv_norm_out(features), self.remat)(self, features)

    def begin(self, latents: Latents) -> NewFeatures:
        """What is as small as the latents and knows neither picture nor mask: all that comes before the first level."""
        return self.mid_block(self.conv_in(latents))

    def blended(self, place: int, features: Features, image: Images | None, mask: Mask | None) -> NewFeatures:
        """The blend at the entry of level `place` (lowest resolution first), or, after all levels, the last one."""
        if image is None or mask is None:
            return features
        return self._blend(place, features, self.condition_encoder(image * (1 - mask))[::-1], mask)

    def to_pixels(self, features: Features) -> Images:
        """The last convolution. Unclipped; pictures are in [-1, 1]."""
        return self.conv_out(features).astype(jnp.float32)

    def __call__(self, latents: Latents, *, image: Images | None = None, mask: Mask | None = None) -> Images:
        """Pictures, unclipped, `2 ** (levels - 1)` times as large as the latents. Raises as `features` does."""
        return self.to_pixels(self.features(latents, image, mask))

    def _condition(self, latents: Latents, image: Images | None, mask: Mask | None) -> Pyramid | None:
        """Condition features, lowest resolution first, or None without a picture."""
        if image is None and mask is None:
            return None
        if image is None or mask is None:
            raise ValueError("image and mask go together: give both, or neither for the plain decoder")
        if not self.conditional:
            raise ValueError("this decoder has no condition encoder: it takes neither image nor mask")
        scale = 2 ** (len(self.channels) - 1)
        expected = (latents.shape[0], latents.shape[1] * scale, latents.shape[2] * scale)
        for name, array in (("image", image), ("mask", mask)):
            if array.shape[:3] != expected:
                raise ValueError(f"{name} has shape {array.shape}; latents of shape {latents.shape} need {expected}")
        return self.condition_encoder(image * (1 - mask))[::-1]

    def _blend(self, place: int, features: Features, pyramid: Pyramid | None, mask: Mask | None) -> Features:
        if pyramid is None:
            return features
        small = shrink_mask(mask, height=features.shape[1], width=features.shape[2]).astype(features.dtype)
        if self.blend == "concatenate":
            return self.condition_blends[place](features, pyramid[place], small)
        return blend_by_addition(features, pyramid[place], small)

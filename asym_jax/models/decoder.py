"""The mask-conditioned, asymmetric decoder (arXiv 2306.04632, section 3)."""

from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from asym_jax.arrays import Features, Images, Latents, Mask, NewFeatures, OneOrAllImages, OneOrAllMasks
from asym_jax.models.blend import ConcatenationBlend, blend_by_addition, shrink_mask
from asym_jax.models.blocks import MidBlock, UpBlock, at_each_level, convolution
from asym_jax.models.condition import Condition, ConditionEncoder
from asym_jax.models.normalisation.layer import GroupNorm, Kernel
from asym_jax.models.remat import Remat, forgetful


class Decoder(nn.Module):
    """Maps latents (after `post_quant_conv`) to pictures, guided by visible pixels if there are any.

    Condition features are blended in at the entry of every level and once more
    before the last normalisation. Without `image` and `mask` this is the plain
    decoder of Stable Diffusion's autoencoder. With `blend="add"`, a mask of ones
    gives the plain decoder too, and a mask of zeros makes the latents irrelevant.

    One picture and its mask may stand for a whole batch of latents, and `condition` keeps what is made of them for several
    batches: condition features are then computed once.

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

    def condition(self, image: Images, mask: Mask) -> Condition:
        """What decoding uses of pictures and masks, to be given to it in their place.

        Raises:
            ValueError: their sizes differ, or this decoder has no condition encoder.
        """
        if not self.conditional:
            raise ValueError("this decoder has no condition encoder: it takes neither image nor mask")
        if image.shape[:3] != mask.shape[:3]:
            raise ValueError(f"image has shape {image.shape} and mask {mask.shape}: a mask for each picture, of its size")
        return Condition(self.condition_encoder(image * (1 - mask))[::-1], mask)

    def features(
        self,
        latents: Latents,
        image: OneOrAllImages | None = None,
        mask: OneOrAllMasks | None = None,
        condition: Condition | None = None,
    ) -> NewFeatures:
        """All of the decoder but its last convolution.

        Raises:
            ValueError: only one of `image` and `mask` was given, or they and a `condition`; sizes or numbers do not
                match the latents; this decoder has no condition encoder, or the condition comes from another one.
        """
        condition = self._condition(latents, image, mask, condition)
        features = self.begin(latents)
        for i, block in enumerate(self.up_blocks):
            features = block(self._blend(i, features, condition))
        features = self._blend(len(self.up_blocks), features, condition)
        return forgetful(lambda self, features: self.conv_norm_out(features), self.remat)(self, features)

    def begin(self, latents: Latents) -> NewFeatures:
        """What is as small as the latents and knows neither picture nor mask: all that comes before the first level."""
        return self.mid_block(self.conv_in(latents))

    def blended(self, place: int, features: Features, image: Images | None, mask: Mask | None) -> NewFeatures:
        """The blend at the entry of level `place` (lowest resolution first), or, after all levels, the last one."""
        if image is None or mask is None:
            return features
        return self._blend(place, features, self.condition(image, mask))

    def to_pixels(self, features: Features) -> Images:
        """The last convolution. Unclipped; pictures are in [-1, 1]."""
        return self.conv_out(features).astype(jnp.float32)

    def __call__(
        self,
        latents: Latents,
        *,
        image: OneOrAllImages | None = None,
        mask: OneOrAllMasks | None = None,
        condition: Condition | None = None,
    ) -> Images:
        """Pictures, unclipped, `2 ** (levels - 1)` times as large as the latents. Raises as `features` does."""
        return self.to_pixels(self.features(latents, image, mask, condition))

    def _condition(
        self, latents: Latents, image: OneOrAllImages | None, mask: OneOrAllMasks | None, condition: Condition | None
    ) -> Condition | None:
        """What is to be blended in, or None without a picture."""
        given = {"image": image, "mask": mask}
        if condition is not None:
            if image is not None or mask is not None:
                raise ValueError("image and mask are in the condition already: give these two, or that")
            if not self.conditional:
                raise ValueError("this decoder has no condition encoder: it takes no condition")
            widths = (*self.channels, self.channels[-1])[::-1]
            if (there := tuple(features.shape[-1] for features in condition.pyramid)) != widths:
                raise ValueError(f"the condition has features of {there} channels, as of another decoder; this one has {widths}")
            given = {"the condition's mask": condition.mask}
        elif image is None and mask is None:
            return None
        elif image is None or mask is None:
            raise ValueError("image and mask go together: give both, or neither for the plain decoder")
        scale = 2 ** (len(self.channels) - 1)
        b, h, w, _ = latents.shape
        expected = (b, h * scale, w * scale)
        for name, array in given.items():
            if array.shape[:3] not in (expected, (1, *expected[1:])):
                raise ValueError(
                    f"{name} has shape {array.shape}; latents of shape {latents.shape} need {expected}, or one for all"
                )
        return condition or self.condition(image, mask)

    def _blend(self, place: int, features: Features, condition: Condition | None) -> Features:
        if condition is None:
            return features
        pyramid, mask = condition
        small = shrink_mask(mask, height=features.shape[1], width=features.shape[2]).astype(features.dtype)
        if self.blend == "concatenate":
            return self.condition_blends[place](features, pyramid[place], small)
        return blend_by_addition(features, pyramid[place], small)

"""The condition encoder: a light pyramid of features of the pixels that must survive."""

from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from asym_jax.arrays import Images, Mask, Pyramid
from asym_jax.models.blocks import Padding, convolution, same


class Condition(NamedTuple):
    """All that a decoder uses of pictures and masks, whatever the latents: as many as there are latents, or one for all."""

    pyramid: Pyramid  # lowest resolution first, one for each blend
    mask: Mask


class ConditionEncoder(nn.Module):
    """Five convolutions (one more than the decoder has levels) with ReLU between them.

    The first two work at full resolution, each later one halves it. What the
    decoder blends in is every convolution's result *before* the ReLU, as in the
    released code (the paper leaves it open).

    Attributes:
        channels: widths of the decoder per level, full resolution first. Layer 0
            is as wide as level 0 and is blended in before the last normalisation;
            layer i is as wide as the input of level i - 1.
    """

    channels: tuple[int, ...]
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        widths = (*self.channels, self.channels[-1])
        layers = []
        for i, width in enumerate(widths):
            half: dict[str, int | Padding] = {"kernel": 4, "stride": 2, "padding": same(1)} if i >= 2 else {}
            layers.append(convolution(widths[i - 1] if i else 3, width, dtype=self.dtype, **half))
        self.layers = layers

    def __call__(self, visible: Images) -> Pyramid:
        """Features of `visible` (holes already zeroed), full resolution first: one for each blend."""
        pyramid = []
        features = visible
        for i, layer in enumerate(self.layers):
            features = layer(nn.relu(features) if i else features)
            pyramid.append(features)
        return pyramid

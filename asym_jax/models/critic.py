"""The patch critic (PatchGAN discriminator of pix2pix, as taming-transformers uses it)."""

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from asym_jax.arrays import Features, Images, Logits
from asym_jax.models.blocks import convolution, same


class GroupedBatchNorm(nn.Module):
    """Batch normalisation over groups of pictures, by the statistics of the group at hand.

    The reference normalises over one GPU's batch. Fixing the group instead makes
    the result independent of the number of devices. There are no running
    averages: the reference never uses them.

    Attributes:
        group: pictures that share statistics; a smaller batch is one group.
    """

    channels: int
    group: int
    epsilon: float = 1e-5

    def setup(self) -> None:
        self.scale = self.param("scale", _around_one, (self.channels,))
        self.bias = self.param("bias", nn.initializers.zeros, (self.channels,))

    def __call__(self, features: Features) -> Features:
        """Raises ValueError unless the batch is smaller than a group or a multiple of it."""
        b, h, w, c = features.shape
        group = min(self.group, b)
        if b % group:
            raise ValueError(f"a batch of {b} pictures cannot be split into groups of {group}")
        grouped = features.astype(jnp.float32).reshape(b // group, group, h, w, c)
        mean = grouped.mean((1, 2, 3), keepdims=True)
        variance = jnp.square(grouped - mean).mean((1, 2, 3), keepdims=True)
        normal = (grouped - mean) * (variance + self.epsilon) ** -0.5
        scale, bias = self.scale.reshape(1, 1, 1, c), self.bias.reshape(1, 1, 1, c)
        return (normal.reshape(b, h, w, c) * scale + bias).astype(features.dtype)


class Critic(nn.Module):
    """Scores overlapping patches as real (high) or decoded (low).

    Attributes:
        channels: width of the first layer; each later one doubles it, up to eightfold.
        layers: strided layers. Three see patches of 70 pixels and give 30x30 logits at 256 pixels.
        norm_images: pictures that share batch statistics.
    """

    channels: int = 64
    layers: int = 3
    norm_images: int = 10
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        widths = [self.channels * min(2**i, 8) for i in range(self.layers + 1)]
        strides = [2] * self.layers + [1]
        self.conv_in = self._layer(3, widths[0], strides[0])
        self.convs = [self._layer(widths[i - 1], widths[i], strides[i], bias=False) for i in range(1, self.layers + 1)]
        self.norms = [GroupedBatchNorm(width, self.norm_images) for width in widths[1:]]
        self.conv_out = self._layer(widths[-1], 1, 1)

    def __call__(self, images: Images) -> Logits:
        features = nn.leaky_relu(self.conv_in(images), 0.2)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            features = nn.leaky_relu(norm(conv(features)), 0.2)
        return self.conv_out(features).astype(jnp.float32)

    def _layer(self, in_channels: int, channels: int, stride: int, *, bias: bool = True) -> nn.Conv:
        layer = convolution(in_channels, channels, kernel=4, stride=stride, padding=same(1), dtype=self.dtype)
        return layer.copy(kernel_init=nn.initializers.normal(0.02), use_bias=bias)


def _around_one(key, shape, dtype=jnp.float32):
    """N(1, 0.02), the reference's initial scale of batch normalisation."""
    return 1 + nn.initializers.normal(0.02)(key, shape, dtype)

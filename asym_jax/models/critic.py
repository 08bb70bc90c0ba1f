"""The patch critic (PatchGAN discriminator of pix2pix, as taming-transformers uses it)."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from asym_jax.arrays import Features, Images, Logits
from asym_jax.models.blocks import convolution, same


class GroupedBatchNorm(nn.Module):
    """Batch normalisation over groups of pictures, by the statistics of the group at hand.

    The reference normalises over one GPU's batch. Fixing the group instead makes
    the result independent of the number of devices. There are no running
    averages: the reference never uses them.

    Attributes:
        group: pictures that share statistics; a smaller batch is one group.
        axes: axes of a `jax.shard_map` over whose devices the batch is spread; a group may lie on several.
    """

    channels: int
    group: int
    axes: tuple[str, ...] = ()
    epsilon: float = 1e-5

    def setup(self) -> None:
        self.scale = self.param("scale", _around_one, (self.channels,))
        self.bias = self.param("bias", nn.initializers.zeros, (self.channels,))

    def __call__(self, features: Features) -> Features:
        """Raises ValueError unless the batch is smaller than a group or a multiple of it."""
        c = features.shape[-1]
        values = features.astype(jnp.float32)
        apart = values - self._averages(values)
        normal = apart * (self._averages(jnp.square(apart)) + self.epsilon) ** -0.5
        scale, bias = self.scale.reshape(1, 1, 1, c), self.bias.reshape(1, 1, 1, c)
        return (normal * scale + bias).astype(features.dtype)

    def _averages(self, values: Features) -> Float[Array, "b 1 1 c"]:
        """For each picture, the averages over its group."""
        here, h, w, c = values.shape
        b = here * jax.lax.axis_size(self.axes) if self.axes else here
        group = min(self.group, b)
        if b % group:
            raise ValueError(f"a batch of {b} pictures cannot be split into groups of {group}")
        if here % group == 0:
            averages = values.reshape(here // group, group, h, w, c).mean((1, 2, 3))
            return jnp.repeat(averages, group, axis=0)[:, None, None]
        group_of = (jax.lax.axis_index(self.axes) * here + jnp.arange(here)) // group
        sums = jax.ops.segment_sum(values.mean((1, 2)), group_of, b // group)
        return (jax.lax.psum(sums, self.axes) / group)[group_of][:, None, None]


class Critic(nn.Module):
    """Scores overlapping patches as real (high) or decoded (low).

    Attributes:
        channels: width of the first layer; each later one doubles it, up to eightfold.
        layers: strided layers. Three see patches of 70 pixels and give 30x30 logits at 256 pixels.
        norm_images: pictures that share batch statistics.
        axes: as in `GroupedBatchNorm`.
    """

    channels: int = 64
    layers: int = 3
    norm_images: int = 10
    dtype: DTypeLike = jnp.float32
    axes: tuple[str, ...] = ()

    def setup(self) -> None:
        widths = [self.channels * min(2**i, 8) for i in range(self.layers + 1)]
        strides = [2] * self.layers + [1]
        self.conv_in = self._layer(3, widths[0], strides[0])
        self.convs = [self._layer(widths[i - 1], widths[i], strides[i], bias=False) for i in range(1, self.layers + 1)]
        self.norms = [GroupedBatchNorm(width, self.norm_images, self.axes) for width in widths[1:]]
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

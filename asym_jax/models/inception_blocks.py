"""Blocks of the Inception network that FID and the Inception Score look through (see `inception`).

Every block is a set of branches over the same features, side by side in the
result. Names are torchvision's, which the published weights carry.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from asym_jax.arrays import Features, NewFeatures

EPSILON = 1e-3
"""Added to the variance in every batch normalisation of this network."""


class FrozenNorm(nn.Module):
    """Batch normalisation by the statistics of the training that ended long ago; all four arrays are parameters."""

    channels: int

    def setup(self) -> None:
        for name, start in (("scale", 1.0), ("bias", 0.0), ("mean", 0.0), ("var", 1.0)):
            setattr(self, name, self.param(name, nn.initializers.constant(start), (self.channels,)))

    def __call__(self, features: Features) -> Features:
        factor = self.scale / jnp.sqrt(self.var + EPSILON)
        return features * factor.reshape(1, 1, 1, -1) + (self.bias - self.mean * factor).reshape(1, 1, 1, -1)


class NormedConv(nn.Module):
    """A convolution without bias, the normalisation, ReLU."""

    channels: int
    kernel: tuple[int, int]
    stride: int = 1
    padded: bool = True  # with zeros, so that stride 1 keeps the size
    precision: jax.lax.Precision = jax.lax.Precision.HIGHEST

    def setup(self) -> None:
        border = [(side // 2 if self.padded else 0,) * 2 for side in self.kernel]
        strides = (self.stride, self.stride)
        self.conv = nn.Conv(self.channels, self.kernel, strides, border, use_bias=False, precision=self.precision)
        self.bn = FrozenNorm(self.channels)

    def __call__(self, features: Features) -> NewFeatures:
        return nn.relu(self.bn(self.conv(features)))


Layer = tuple[str, int, tuple[int, int]]
"""Name, width and kernel of a `NormedConv` at stride 1."""


def average_around(features: Features) -> Features:
    """Means over 3x3 neighbourhoods; at the border only of what is there, as TensorFlow counts."""
    return nn.avg_pool(features, (3, 3), padding=((1, 1), (1, 1)), count_include_pad=False)


def maximum_around(features: Features) -> Features:
    """Maxima over 3x3 neighbourhoods."""
    return nn.max_pool(features, (3, 3), padding=((1, 1), (1, 1)))


def halve(features: Features) -> NewFeatures:
    """Maxima of every second 3x3 cell that lies wholly inside."""
    return nn.max_pool(features, (3, 3), (2, 2))


class Branches(nn.Module):
    """A block that keeps the size: chains of convolutions, and a pooled branch with one.

    Attributes:
        chains: each from the block's input; their ends are put side by side in this order.
        pool: width of the pooled branch, which comes last.
        forks: a chain's last layer may be followed by two layers side by side, under its position among the chains.
        by_maximum: how the pooled branch pools. Only the last block of the network does so by the maximum: an oddity of
            the TensorFlow graph that FID was defined by.
    """

    chains: Sequence[Sequence[Layer]]
    pool: int
    forks: Mapping[int, Sequence[Layer]]
    by_maximum: bool = False
    precision: jax.lax.Precision = jax.lax.Precision.HIGHEST

    def setup(self) -> None:
        for name, width, kernel in [layer for chain in (*self.chains, *self.forks.values()) for layer in chain]:
            setattr(self, name, NormedConv(width, kernel, precision=self.precision))
        self.branch_pool = NormedConv(self.pool, (1, 1), precision=self.precision)

    def __call__(self, features: Features) -> NewFeatures:
        ends = []
        for i, chain in enumerate(self.chains):
            branch = features
            for name, _, _ in chain:
                branch = getattr(self, name)(branch)
            ends += [getattr(self, name)(branch) for name, _, _ in self.forks[i]] if i in self.forks else [branch]
        pooled = maximum_around(features) if self.by_maximum else average_around(features)
        return jnp.concatenate([*ends, self.branch_pool(pooled)], axis=-1)


class HalvingBranches(nn.Module):
    """A block that halves the size: chains whose last layer has stride 2 and no padding, and the maxima of the input."""

    chains: Sequence[Sequence[Layer]]
    precision: jax.lax.Precision = jax.lax.Precision.HIGHEST

    def setup(self) -> None:
        for *before, (name, width, kernel) in self.chains:
            for earlier, earlier_width, earlier_kernel in before:
                setattr(self, earlier, NormedConv(earlier_width, earlier_kernel, precision=self.precision))
            setattr(self, name, NormedConv(width, kernel, stride=2, padded=False, precision=self.precision))

    def __call__(self, features: Features) -> NewFeatures:
        ends = []
        for chain in self.chains:
            branch = features
            for name, _, _ in chain:
                branch = getattr(self, name)(branch)
            ends.append(branch)
        return jnp.concatenate([*ends, halve(features)], axis=-1)


def mean_of_positions(features: Features) -> Float[Array, "b c"]:
    """Each channel's mean over the picture."""
    return jnp.mean(features, axis=(1, 2))

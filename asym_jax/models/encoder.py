"""The encoder of Stable Diffusion's autoencoder and the Gaussian it describes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from asym_jax.arrays import Images, Latents, PRNGKey
from asym_jax.models.blocks import DownBlock, MidBlock, at_each_level, convolution
from asym_jax.models.normalisation.layer import GroupNorm, Kernel


class Posterior(NamedTuple):
    """A diagonal Gaussian over unscaled latents."""

    mean: Latents
    logvar: Latents  # in [-30, 20]

    @classmethod
    def of(cls, moments: Float[Array, "b h w c"]) -> "Posterior":
        """Splits moments into mean and log-variance, the latter clipped to [-30, 20]."""
        mean, logvar = jnp.split(moments.astype(jnp.float32), 2, axis=-1)
        return cls(mean, jnp.clip(logvar, -30.0, 20.0))

    def sample(self, key: PRNGKey) -> Latents:
        return self.at(jax.random.normal(key, self.mean.shape, self.mean.dtype))

    def at(self, noise: Latents) -> Latents:
        """The latents that lie `noise` standard deviations from the mean."""
        return self.mean + jnp.exp(0.5 * self.logvar) * noise


class Point(NamedTuple):
    """Latents without any spread, in the place of a `Posterior`: what a VQ-regularised encoder gives before its codebook."""

    mean: Latents

    def sample(self, key: PRNGKey) -> Latents:
        """The mean, whatever the key."""
        return self.mean

    def at(self, noise: Float[Array, "b _ _ _"]) -> Latents:
        """The mean, whatever the noise."""
        return self.mean


class Encoder(nn.Module):
    """Maps pictures to moments (mean and log-variance, before `quant_conv`), or to the latents themselves.

    Attributes:
        channels: widths per level, full resolution first; each further level halves the size.
        layers_per_block: residual blocks per level.
        double_z: whether there is a log-variance, and so twice `latent_channels`.
        attention: which levels have self-attention, in the order of `channels`; empty for none.
        mid_attention: whether the middle has.
        norm: who writes the normalisations' passes over features.
    """

    channels: tuple[int, ...]
    layers_per_block: int
    latent_channels: int
    norm_groups: int
    double_z: bool = True
    attention: tuple[bool, ...] = ()
    mid_attention: bool = True
    dtype: DTypeLike = jnp.float32
    norm: Kernel = "xla"

    def setup(self) -> None:
        widths = (self.channels[0], *self.channels)
        last = len(self.channels) - 1
        attention = at_each_level(self.attention, len(self.channels))
        self.conv_in = convolution(3, self.channels[0], dtype=self.dtype)
        self.down_blocks = [
            DownBlock(
                widths[i], widths[i + 1], self.layers_per_block, self.norm_groups, i < last, self.dtype, attention[i], self.norm
            )
            for i in range(len(self.channels))
        ]
        self.mid_block = MidBlock(self.channels[-1], self.norm_groups, self.dtype, self.mid_attention, norm=self.norm)
        self.conv_norm_out = GroupNorm(self.norm_groups, silu=True, dtype=self.dtype, kernel=self.norm)
        self.conv_out = convolution(self.channels[-1], (1 + self.double_z) * self.latent_channels, dtype=self.dtype)

    def __call__(self, images: Images) -> Float[Array, "b h w c"]:
        features = self.conv_in(images)
        for block in self.down_blocks:
            features = block(features)
        features = self.mid_block(features)
        return self.conv_out(self.conv_norm_out(features))

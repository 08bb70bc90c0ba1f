"""Building blocks of Stable Diffusion's autoencoder.

Parameter names and arithmetic are those of diffusers' Flax autoencoder, so that
trees travel without renaming; initial values are those of PyTorch's layers.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from asym_jax.arrays import Features, NewFeatures
from asym_jax.models.convolutions import convolve, convolve_doubled
from asym_jax.models.normalisation.layer import GroupNorm, Kernel
from asym_jax.models.remat import Remat, forgetful

Padding = tuple[tuple[int, int], tuple[int, int]]


def same(border: int) -> Padding:
    """Zero padding of `border` pixels on each side."""
    return ((border, border), (border, border))


def _uniform_bias(fan_in: int) -> nn.initializers.Initializer:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), as `torch.nn.Conv2d` and `torch.nn.Linear` draw their biases."""
    bound = fan_in**-0.5

    def draw(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return draw


# U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's default; Flax's own default is sqrt(3) times wider.
torch_kernel = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def convolution(
    in_channels: int, channels: int, *, kernel: int = 3, stride: int = 1, padding: Padding | None = None, dtype: DTypeLike
) -> nn.Conv:
    """A convolution that keeps the size (at stride 1) and starts as `torch.nn.Conv2d` does."""
    return nn.Conv(
        channels,
        (kernel, kernel),
        strides=(stride, stride),
        padding=same(kernel // 2) if padding is None else padding,
        dtype=dtype,
        kernel_init=torch_kernel,
        bias_init=_uniform_bias(kernel * kernel * in_channels),
        conv_general_dilated=convolve,
    )


def dense(channels: int, *, dtype: DTypeLike) -> nn.Dense:
    """A square linear layer that starts as `torch.nn.Linear` does."""
    return nn.Dense(channels, dtype=dtype, kernel_init=torch_kernel, bias_init=_uniform_bias(channels))


class ResnetBlock(nn.Module):
    """GroupNorm, SiLU, 3x3 convolution, twice, plus the input (through a 1x1 convolution if the width changes)."""

    in_channels: int
    channels: int
    norm_groups: int
    dtype: DTypeLike = jnp.float32
    norm: Kernel = "xla"

    def setup(self) -> None:
        self.norm1 = GroupNorm(self.norm_groups, silu=True, dtype=self.dtype, kernel=self.norm)
        self.conv1 = convolution(self.in_channels, self.channels, dtype=self.dtype)
        self.norm2 = GroupNorm(self.norm_groups, silu=True, dtype=self.dtype, kernel=self.norm)
        self.conv2 = convolution(self.channels, self.channels, dtype=self.dtype)
        if self.in_channels != self.channels:
            self.conv_shortcut = convolution(self.in_channels, self.channels, kernel=1, dtype=self.dtype)

    def __call__(self, features: Features) -> NewFeatures:
        update = self.conv1(self.norm1(features))
        update = self.conv2(self.norm2(update))
        if self.in_channels != self.channels:
            features = self.conv_shortcut(features)
        return features + update


Queries = Float[Array, "b q c"]
Tokens = Float[Array, "b n c"]

SCORES = 2**26
"""Attention scores of one picture that are in memory together: all of them up to 720 pixels, which have 90 x 90 latents."""


class AttentionBlock(nn.Module):
    """Single-head self-attention over all positions, plus the input."""

    channels: int
    norm_groups: int
    dtype: DTypeLike = jnp.float32
    norm: Kernel = "xla"

    def setup(self) -> None:
        self.group_norm = GroupNorm(self.norm_groups, dtype=self.dtype, kernel=self.norm)
        self.query = dense(self.channels, dtype=self.dtype)
        self.key = dense(self.channels, dtype=self.dtype)
        self.value = dense(self.channels, dtype=self.dtype)
        self.proj_attn = dense(self.channels, dtype=self.dtype)

    def __call__(self, features: Features) -> Features:
        b, h, w, c = features.shape
        tokens = self.group_norm(features).reshape(b, h * w, c)
        query, key, value = self.query(tokens) * self.channels**-0.5, self.key(tokens), self.value(tokens)
        mixed = attend(query, key, value) if (h * w) ** 2 <= SCORES else attend_in_parts(query, key, value)
        return features + self.proj_attn(mixed).reshape(b, h, w, c)


def attend(query: Queries, key: Tokens, value: Tokens) -> Queries:
    """For each query the mean of all values, weighted by the softmax of its products with their keys."""
    scores = jnp.einsum("bqc,bkc->bqk", query, key, preferred_element_type=jnp.float32)
    return jnp.einsum("bqk,bkc->bqc", nn.softmax(scores).astype(value.dtype), value)


def attend_in_parts(query: Queries, key: Tokens, value: Tokens) -> Queries:
    """The same, for so many queries at a time that a picture never has more than `SCORES` scores."""

    def attend_one(query: Float[Array, "b c"]) -> Float[Array, "b c"]:
        return attend(query[:, None], key, value)[:, 0]

    together = max(1, SCORES // key.shape[1])
    return jax.lax.map(attend_one, query.swapaxes(0, 1), batch_size=together).swapaxes(0, 1)


class MidBlock(nn.Module):
    """Residual block, attention (if any), residual block, at the lowest resolution."""

    channels: int
    norm_groups: int
    dtype: DTypeLike = jnp.float32
    attention: bool = True
    remat: Remat = "none"
    norm: Kernel = "xla"

    def setup(self) -> None:
        residual, attentive = forgetful(ResnetBlock, self.remat), forgetful(AttentionBlock, self.remat)
        self.resnets = [residual(self.channels, self.channels, self.norm_groups, self.dtype, self.norm) for _ in range(2)]
        if self.attention:
            self.attentions = [attentive(self.channels, self.norm_groups, self.dtype, self.norm)]

    def __call__(self, features: Features) -> Features:
        features = self.resnets[0](features)
        if self.attention:
            features = self.attentions[0](features)
        return self.resnets[1](features)


def at_each_level(attention: tuple[bool, ...], levels: int) -> tuple[bool, ...]:
    """`attention`, or False for every level if it is empty. Raises ValueError if it has another number of levels."""
    if attention and len(attention) != levels:
        raise ValueError(f"attention={attention} has {len(attention)} levels, and the widths have {levels}")
    return attention or (False,) * levels


class Downsample(nn.Module):
    """Halves height and width by a strided convolution, padded at the bottom and the right only."""

    channels: int
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        self.conv = convolution(self.channels, self.channels, stride=2, padding=((0, 1), (0, 1)), dtype=self.dtype)

    def __call__(self, features: Features) -> NewFeatures:
        return self.conv(features)


class Upsample(nn.Module):
    """Doubles height and width by repeating pixels, and convolves."""

    channels: int
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        same_size = convolution(self.channels, self.channels, dtype=self.dtype)
        self.conv = same_size.copy(conv_general_dilated=convolve_doubled, promote_dtype=_all_but_the_kernel)

    def __call__(self, features: Features) -> NewFeatures:
        return self.conv(features)


def _all_but_the_kernel(
    features: jax.Array, kernel: jax.Array, bias: jax.Array, *, dtype: DTypeLike, **_: object
) -> list[jax.Array]:
    """What `flax.linen.Conv` asks for before it convolves; sums of taps are to be rounded once, not their terms."""
    return [features.astype(dtype), kernel, bias.astype(dtype)]


class DownBlock(nn.Module):
    """One level of the encoder: residual blocks, each with attention if any, then halving unless it is the last."""

    in_channels: int
    channels: int
    layers: int
    norm_groups: int
    downsample: bool
    dtype: DTypeLike = jnp.float32
    attention: bool = False
    norm: Kernel = "xla"

    def setup(self) -> None:
        widths = [self.in_channels] + [self.channels] * (self.layers - 1)
        self.resnets = [ResnetBlock(width, self.channels, self.norm_groups, self.dtype, self.norm) for width in widths]
        if self.attention:
            self.attentions = [AttentionBlock(self.channels, self.norm_groups, self.dtype, self.norm) for _ in widths]
        if self.downsample:
            self.downsamplers = [Downsample(self.channels, self.dtype)]

    def __call__(self, features: Features) -> NewFeatures:
        for i, resnet in enumerate(self.resnets):
            features = resnet(features)
            if self.attention:
                features = self.attentions[i](features)
        return self.downsamplers[0](features) if self.downsample else features


class UpBlock(nn.Module):
    """One level of the decoder: residual blocks, each with attention if any, then doubling unless it is the last."""

    in_channels: int
    channels: int
    layers: int
    norm_groups: int
    upsample: bool
    dtype: DTypeLike = jnp.float32
    attention: bool = False
    remat: Remat = "none"
    norm: Kernel = "xla"

    def setup(self) -> None:
        widths = [self.in_channels] + [self.channels] * (self.layers - 1)
        residual, attentive = forgetful(ResnetBlock, self.remat), forgetful(AttentionBlock, self.remat)
        self.resnets = [residual(width, self.channels, self.norm_groups, self.dtype, self.norm) for width in widths]
        if self.attention:
            self.attentions = [attentive(self.channels, self.norm_groups, self.dtype, self.norm) for _ in widths]
        if self.upsample:
            self.upsamplers = [forgetful(Upsample, self.remat)(self.channels, self.dtype)]

    def __call__(self, features: Features) -> NewFeatures:
        for i, resnet in enumerate(self.resnets):
            features = resnet(features)
            if self.attention:
                features = self.attentions[i](features)
        return self.upsamplers[0](features) if self.upsample else features

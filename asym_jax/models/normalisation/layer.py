"""The layer, and the gradient that it brings.

Automatic differentiation would keep float32 arrays as large as the features for
the backward pass. Here that pass is given the features as they came, in their
own type, with a mean and a deviation per group, and computes the rest again.
"""

import functools
from types import ModuleType
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from asym_jax.arrays import Features
from asym_jax.models.normalisation import passes
from asym_jax.models.normalisation.passes import Affine, PerChannel

EPSILON = 1e-6
"""Added to the variance in every group normalisation of Stable Diffusion's autoencoder."""

EVERY = 16
"""Of so many rows, one is averaged for a guess of the mean."""

Kernel = Literal["xla", "triton"]
"""Who writes the passes over the features: the compiler; or, on NVIDIA GPUs, kernels of ours (elsewhere the compiler too)."""

PerGroup = Float[Array, "b k"]
PerWidth = Float[Array, " c"]


class Settings(NamedTuple):
    """What is known when a network is built."""

    groups: int
    silu: bool = False
    dtype: DTypeLike = jnp.float32
    epsilon: float = EPSILON
    kernel: Kernel = "xla"


class GroupNorm(nn.Module):
    """Group normalisation with float32 statistics, then SiLU if asked for; parameters as `flax.linen.GroupNorm` has them.

    Attributes:
        dtype: of the result.
    """

    num_groups: int
    silu: bool = False
    dtype: DTypeLike = jnp.float32
    epsilon: float = EPSILON
    kernel: Kernel = "xla"

    @nn.compact
    def __call__(self, features: Features) -> Features:
        width = features.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, width)
        bias = self.param("bias", nn.initializers.zeros, width)
        settings = Settings(self.num_groups, self.silu, self.dtype, self.epsilon, self.kernel)
        return group_norm(features, scale, bias, settings)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def group_norm(features: Features, scale: PerWidth, bias: PerWidth, settings: Settings) -> Features:
    """Normalises each group of channels of each picture to mean `bias` and deviation `scale`, then SiLU if asked for.

    Wu & He 2018 (arXiv 1803.08494). It has a gradient, but no forward-mode derivative.
    """
    return _forward(features, scale, bias, settings)[0]


def _forward(features: Features, scale: PerWidth, bias: PerWidth, settings: Settings) -> tuple[Features, tuple]:
    mean, rstd = moments(features, settings)
    affine = _affine(features, mean, rstd, scale, bias)
    result = _written_by(settings.kernel).normalise(features, affine, silu=settings.silu, dtype=settings.dtype)
    return result, (features, mean, rstd, scale, bias)


def _backward(settings: Settings, kept: tuple, pull: Features) -> tuple[Features, PerWidth, PerWidth]:
    features, mean, rstd, scale, bias = kept
    # A compiler would notice that the following was computed before, and keep all of it, several float32 arrays as large as the
    # features. (Barriers against that are dropped on CPUs.) Hence the zero: it makes the mean another one, known only now.
    mean = mean + 0 * pull[:, 0, 0, :1].astype(jnp.float32)
    _, h, w, c = features.shape
    affine = _affine(features, mean, rstd, scale, bias)
    written = _written_by(settings.kernel)
    of_gradient, of_product = written.sum_gradients(features, pull, affine, silu=settings.silu)
    # Accelerators shall read the features again, rather than write and read what both passes have in common.
    features, pull = jax.lax.optimization_barrier((features, pull))
    count = h * w * (c // settings.groups)
    wide = scale.reshape(1, c)
    slope = _per_group(wide * of_product, settings) * rstd**3 / count
    offset = _per_group(wide * of_gradient, settings) * rstd / count
    gradient = written.pull_back(features, pull, affine, _per_channel(slope, c), _per_channel(offset, c), silu=settings.silu)
    of_scale = jnp.sum(of_product * _per_channel(rstd, c), axis=0)
    return gradient, of_scale.astype(scale.dtype), jnp.sum(of_gradient, axis=0).astype(bias.dtype)


group_norm.defvjp(_forward, _backward)


def moments(features: Features, settings: Settings) -> tuple[PerGroup, PerGroup]:
    """Mean and 1 / sqrt(variance + epsilon) of each group.

    Both come from one pass: sums of x - guess and of its square. That cancels where the guess is many deviations off the
    mean, as 0 is in these networks. The mean of a share f of all positions never is: if it differs from the mean by d, the
    variance between both parts alone is at least f / (1 - f) * d^2. So with a sixteenth, rounding grows sixteenfold at worst.
    """
    _, h, w, c = features.shape
    count = w * (c // settings.groups)
    sample = features[:, ::EVERY].astype(jnp.float32)
    guess = _per_group(jnp.sum(sample, axis=(1, 2)), settings) / (sample.shape[1] * count)
    sums = _written_by(settings.kernel).sum_moments(features, _per_channel(guess, c))
    first, second = (_per_group(one, settings) / (h * count) for one in sums)
    variance = jnp.maximum(second - jnp.square(first), 0)
    return guess + first, jax.lax.rsqrt(variance + settings.epsilon)


def _written_by(kernel: Kernel) -> ModuleType:
    if kernel == "xla":
        return passes
    # Not before it is asked for: it takes a while, and not every build of JAX has it.
    from asym_jax.models.normalisation import kernels

    return kernels


def _affine(features: Features, mean: PerGroup, rstd: PerGroup, scale: PerWidth, bias: PerWidth) -> Affine:
    b, _, _, c = features.shape
    scale, bias = (one.astype(jnp.float32).reshape(1, c) for one in (scale, bias))
    return Affine(_per_channel(mean, c), _per_channel(rstd, c) * scale, jnp.broadcast_to(bias, (b, c)))


def _per_group(sums: PerChannel, settings: Settings) -> PerGroup:
    b, c = sums.shape
    return jnp.sum(sums.reshape(b, settings.groups, c // settings.groups), axis=-1)


def _per_channel(values: PerGroup, channels: int) -> PerChannel:
    b, groups = values.shape
    return jnp.broadcast_to(values[:, :, None], (b, groups, channels // groups)).reshape(b, channels)

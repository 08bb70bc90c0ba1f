"""The passes over features that a group normalisation takes, in plain JAX: what each reads and writes once.

`features` and `pull`, the gradient that comes from above, have any floating type; the arithmetic is float32. Numbers per
picture and channel are float32 too.
"""

from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from asym_jax.arrays import Features

PerChannel = Float[Array, "b c"]


class Affine(NamedTuple):
    """What normalises: (x - mean) * factor + bias."""

    mean: PerChannel
    factor: PerChannel
    bias: PerChannel


def sum_moments(features: Features, guess: PerChannel) -> tuple[PerChannel, PerChannel]:
    """Sums of x - guess and of its square over all positions."""
    apart = features.astype(jnp.float32) - _wide(guess)
    return jnp.sum(apart, axis=(1, 2)), jnp.sum(jnp.square(apart), axis=(1, 2))


def normalise(features: Features, affine: Affine, *, silu: bool, dtype: DTypeLike) -> Features:
    """(x - mean) * factor + bias, then SiLU if asked for, as `dtype`."""
    # x * factor + (bias - mean * factor) would save a subtraction, and cancel where means are large.
    normal = (features.astype(jnp.float32) - _wide(affine.mean)) * _wide(affine.factor) + _wide(affine.bias)
    return (nn.silu(normal) if silu else normal).astype(dtype)


def sum_gradients(features: Features, pull: Features, affine: Affine, *, silu: bool) -> tuple[PerChannel, PerChannel]:
    """Sums of g and of g * (x - mean) over all positions, g being the gradient before the SiLU."""
    apart = features.astype(jnp.float32) - _wide(affine.mean)
    before = _before_silu(apart, pull, affine, silu=silu)
    return jnp.sum(before, axis=(1, 2)), jnp.sum(before * apart, axis=(1, 2))


def pull_back(features: Features, pull: Features, affine: Affine, slope: PerChannel, offset: PerChannel, *, silu: bool) -> Features:
    """g * factor - (x - mean) * slope - offset, as the type of `features`, g being the gradient before the SiLU."""
    apart = features.astype(jnp.float32) - _wide(affine.mean)
    before = _before_silu(apart, pull, affine, silu=silu)
    return (before * _wide(affine.factor) - apart * _wide(slope) - _wide(offset)).astype(features.dtype)


def _before_silu(apart: Features, pull: Features, affine: Affine, *, silu: bool) -> Features:
    pull = pull.astype(jnp.float32)
    if not silu:
        return pull
    normal = apart * _wide(affine.factor) + _wide(affine.bias)
    gate = nn.sigmoid(normal)
    return pull * (gate * (1 + normal * (1 - gate)))


def _wide(vector: PerChannel) -> Float[Array, "b 1 1 c"]:
    return vector[:, None, None, :]

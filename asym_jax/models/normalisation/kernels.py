"""The passes of `passes` as kernels for NVIDIA GPUs, written in Pallas and compiled by Triton.

They were run in Pallas' interpreter and lowered to Triton's language, but no GPU
was at hand: nothing is known of their speed, so nothing chooses them by itself.
On other devices `passes` takes their place. Nothing tells XLA how to spread them
over several devices. JAX 0.12 still has this way to Triton, but announces its end.

Each program works on some rows (positions) and columns (channels) of one picture,
a block at a time. Sums leave it as one row of numbers, and are added up outside.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from asym_jax.arrays import Features
from asym_jax.models.normalisation import passes
from asym_jax.models.normalisation.passes import Affine, PerChannel

COLUMNS = 128
"""Of a block, at most; 64 in bfloat16 fill a cache line."""

VALUES = 4096
"""Of a block: 32 for each thread of four warps."""

STEPS = 8
"""Blocks, one below the other, that one program adds up."""

Reference = Any
"""Where a kernel reads a block or writes one."""

Block = Float[Array, "_ _"]


def sum_moments(features: Features, guess: PerChannel, *, interpret: bool = False) -> tuple[PerChannel, PerChannel]:
    """As `passes.sum_moments`."""
    sums = functools.partial(_summed, _moments, arrays=1, interpret=interpret)
    return _on_gpu(sums, passes.sum_moments, interpret)(features, guess)


def normalise(features: Features, affine: Affine, *, silu: bool, dtype: DTypeLike, interpret: bool = False) -> Features:
    """As `passes.normalise`."""
    kernel = functools.partial(_mapped, functools.partial(_normalised, silu=silu), arrays=1, dtype=dtype, interpret=interpret)
    plain = functools.partial(passes.normalise, silu=silu, dtype=dtype)
    return _on_gpu(kernel, lambda features, *affine: plain(features, Affine(*affine)), interpret)(features, *affine)


def sum_gradients(
    features: Features, pull: Features, affine: Affine, *, silu: bool, interpret: bool = False
) -> tuple[PerChannel, PerChannel]:
    """As `passes.sum_gradients`."""
    sums = functools.partial(_summed, functools.partial(_gradients, silu=silu), arrays=2, interpret=interpret)
    plain = functools.partial(passes.sum_gradients, silu=silu)
    return _on_gpu(sums, lambda features, pull, *affine: plain(features, pull, Affine(*affine)), interpret)(features, pull, *affine)


def pull_back(
    features: Features,
    pull: Features,
    affine: Affine,
    slope: PerChannel,
    offset: PerChannel,
    *,
    silu: bool,
    interpret: bool = False,
) -> Features:
    """As `passes.pull_back`."""
    inside = functools.partial(_pulled_back, silu=silu)
    kernel = functools.partial(_mapped, inside, arrays=2, dtype=features.dtype, interpret=interpret)

    def plain(features: Features, pull: Features, *vectors: PerChannel) -> Features:
        return passes.pull_back(features, pull, Affine(*vectors[:3]), *vectors[3:], silu=silu)

    return _on_gpu(kernel, plain, interpret)(features, pull, *affine, slope, offset)


def _on_gpu(kernel: Callable, plain: Callable, interpret: bool) -> Callable:
    """Leaves the choice to the moment when it is known what is compiled for."""
    if interpret:
        return kernel
    return lambda *arrays: jax.lax.platform_dependent(*arrays, cuda=kernel, default=plain)


def _moments(x: Block, guess: Block) -> tuple[Block, Block]:
    apart = x - guess
    return apart, apart * apart


def _normalised(x: Block, mean: Block, factor: Block, bias: Block, *, silu: bool) -> Block:
    normal = (x - mean) * factor + bias
    return normal * nn.sigmoid(normal) if silu else normal


def _gradients(x: Block, pull: Block, mean: Block, factor: Block, bias: Block, *, silu: bool) -> tuple[Block, Block]:
    apart = x - mean
    if silu:
        normal = apart * factor + bias
        gate = nn.sigmoid(normal)
        pull = pull * (gate * (1 + normal * (1 - gate)))
    return pull, pull * apart


def _pulled_back(
    x: Block, pull: Block, mean: Block, factor: Block, bias: Block, slope: Block, offset: Block, *, silu: bool
) -> Block:
    before, _ = _gradients(x, pull, mean, factor, bias, silu=silu)
    return before * factor - (x - mean) * slope - offset


def _block(channels: int) -> tuple[int, int]:
    """Rows and columns of a block, powers of two as Triton wants them: the columns divide the channels, the rows need not fit."""
    columns = min(channels & -channels, COLUMNS)
    return VALUES // columns, columns


def _summed(inside: Callable, *given: jax.Array, arrays: int, interpret: bool) -> tuple[PerChannel, PerChannel]:
    """Sums over positions of both things that `inside` makes of the first `arrays` arguments and the vectors behind them."""
    b, h, w, c = given[0].shape
    rows, columns = _block(c)
    stretch = STEPS * rows
    blocks = pl.cdiv(h * w, stretch)

    def kernel(*references: Reference) -> None:
        *read, first, second = references
        vectors = [vector[...].reshape(1, columns) for vector in read[arrays:]]
        top = pl.program_id(1) * stretch

        def add(step: jax.Array, sums: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            there = (top + step * rows + jax.lax.broadcasted_iota(jnp.int32, (rows, columns), 0)) < h * w
            found = [
                triton.load(one.at[pl.ds(step * rows, rows), :], mask=there, other=0).astype(jnp.float32) for one in read[:arrays]
            ]
            values = inside(*found, *vectors)
            return tuple(total + jnp.sum(jnp.where(there, one, 0.0), axis=0) for total, one in zip(sums, values, strict=True))

        nothing = jnp.zeros((columns,), jnp.float32)
        first[...], second[...] = jax.lax.fori_loop(0, STEPS, add, (nothing, nothing))

    whole = pl.BlockSpec((None, stretch, columns), lambda i, j, k: (i, j, k))
    vector = pl.BlockSpec((None, columns), lambda i, j, k: (i, k))
    sums = pl.pallas_call(
        kernel,
        grid=(b, blocks, c // columns),
        in_specs=[whole] * arrays + [vector] * (len(given) - arrays),
        out_specs=[pl.BlockSpec((None, None, columns), lambda i, j, k: (i, j, k))] * 2,
        out_shape=[jax.ShapeDtypeStruct((b, blocks, c), jnp.float32)] * 2,
        compiler_params=triton.CompilerParams(num_warps=4),
        interpret=interpret,
    )(*(one.reshape(b, h * w, c) for one in given[:arrays]), *given[arrays:])
    return jnp.sum(sums[0], axis=1), jnp.sum(sums[1], axis=1)


def _mapped(inside: Callable, *given: jax.Array, arrays: int, dtype: DTypeLike, interpret: bool) -> Features:
    """What `inside` makes of the first `arrays` arguments and the vectors behind them, everywhere."""
    b, h, w, c = given[0].shape
    rows, columns = _block(c)

    def kernel(*references: Reference) -> None:
        *read, written = references
        there = (pl.program_id(1) * rows + jax.lax.broadcasted_iota(jnp.int32, (rows, columns), 0)) < h * w
        found = [triton.load(one, mask=there, other=0).astype(jnp.float32) for one in read[:arrays]]
        vectors = [vector[...].reshape(1, columns) for vector in read[arrays:]]
        triton.store(written, inside(*found, *vectors).astype(dtype), mask=there)

    whole = pl.BlockSpec((None, rows, columns), lambda i, j, k: (i, j, k))
    vector = pl.BlockSpec((None, columns), lambda i, j, k: (i, k))
    result = pl.pallas_call(
        kernel,
        grid=(b, pl.cdiv(h * w, rows), c // columns),
        in_specs=[whole] * arrays + [vector] * (len(given) - arrays),
        out_specs=whole,
        out_shape=jax.ShapeDtypeStruct((b, h * w, c), dtype),
        compiler_params=triton.CompilerParams(num_warps=4),
        interpret=interpret,
    )(*(one.reshape(b, h * w, c) for one in given[:arrays]), *given[arrays:])
    return result.reshape(b, h, w, c)

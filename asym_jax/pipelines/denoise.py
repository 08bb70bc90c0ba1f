"""The way from noise to latents, and where the noise comes from."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from asym_jax.arrays import Latents, Params
from asym_jax.pipelines.schedule import Table

Predict = Callable[[Latents, Int[Array, ""]], Latents]
"""What the network makes of latents at a time."""

Context = Float[Array, "b g t c"]
"""What guides each picture: with classifier-free guidance two embeddings, the unconditional one first; else one."""

START, POSTERIOR, FIRST_STEP = 0, 1, 2
"""What a picture's noise is for; each evaluation of the network has its own, counted from the last."""


def picture_keys(seed: int | Int[Array, ""], index: Int[Array | np.ndarray, " b"]) -> Key[Array, " b"]:
    """A key for each picture, from the seed and its place in the data set, whatever the batch it comes in."""
    return jax.vmap(lambda one: jax.random.fold_in(jax.random.key(seed), one))(index)


def noise_for(keys: Key[Array, " b"], role: int | Int[Array, ""], shape: tuple[int, int, int]) -> Latents:
    """Standard normal numbers for each picture."""
    return jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, role), shape))(keys)


def denoise(predict: Predict, table: Table, start: Latents, keys: Key[Array, " b"], *, noisy: bool) -> Latents:
    """Latents (scaled, as the network knows them) from noise of unit variance.

    Args:
        noisy: whether `table` asks for any noise on the way.
    """

    def step(carry: tuple, numbered: tuple[Int[Array, ""], Table]) -> tuple[tuple, None]:
        latents, begun, memory = carry
        i, row = numbered
        slope = predict(latents, row.timestep)
        begun = jnp.where(row.again, begun, latents)
        results = jnp.concatenate([slope[None], memory])
        latents = row.base * begun + jnp.einsum("k,kbhwz->bhwz", row.slopes, results, precision=jax.lax.Precision.HIGHEST)
        if noisy:
            latents += row.noise * noise_for(keys, FIRST_STEP + i, latents.shape[1:])
        memory = jnp.where(row.remembered, results[:3], memory)
        return (latents, begun, memory), None

    memory = jnp.zeros((3, *start.shape), start.dtype)
    numbers = jnp.arange(len(table.timestep))
    (latents, _, _), _ = jax.lax.scan(step, (start, start, memory), (numbers, table))
    return latents


def guided(
    unet: Any, params: Params, context: Context, guidance: Float[Array, ""], channels: Callable[[Latents], Float[Array, "b h w c"]]
) -> Predict:
    """What diffusers' UNet makes of `channels(latents)`, with classifier-free guidance if `context` has two embeddings.

    The two copies of a picture are neighbours, so that a batch that is spread over devices stays where it is.
    """
    b, copies = context.shape[:2]
    embeddings = context.reshape(b * copies, *context.shape[2:])

    def predict(latents: Latents, timestep: Int[Array, ""]) -> Latents:
        inputs = jnp.repeat(channels(latents), copies, axis=0).transpose(0, 3, 1, 2)
        times = jnp.broadcast_to(timestep, (b * copies,))
        result = unet.apply({"params": params}, inputs, times, encoder_hidden_states=embeddings).sample
        result = result.astype(jnp.float32).transpose(0, 2, 3, 1).reshape(b, copies, *latents.shape[1:])
        if copies == 1:
            return result[:, 0]
        return result[:, 0] + guidance * (result[:, 1] - result[:, 0])

    return predict

"""What an update changes, and so what a checkpoint must hold."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from asym_jax.arrays import Params


class TrainState(NamedTuple):
    """A NamedTuple, because JAX rebuilds states with shapes and shardings in place of arrays."""

    step: Int[Array, ""]  # updates done so far
    decoder: Params
    average: Params  # slow copy of `decoder`, the one to evaluate; empty if none is kept
    critic: Params  # empty if the run has none
    decoder_opt: optax.OptState
    critic_opt: optax.OptState

    @property
    def best_decoder(self) -> Params:
        """The averaged decoder, or the decoder itself if no average is kept."""
        return self.average or self.decoder


def averaged(average: Params, decoder: Params, step: Int[Array, ""], decay: float) -> Params:
    """Exponential average after one more step; the decay rises as (1 + n) / (10 + n) first, so that the start is forgotten."""
    if not average:
        return average
    warm = jnp.minimum(decay, (1 + step) / (10 + step)).astype(jnp.float32)
    return optax.incremental_update(decoder, average, 1 - warm)

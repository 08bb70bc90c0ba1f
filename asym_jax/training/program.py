"""The compiled update of a run."""

import time
from collections.abc import Callable

import jax
from jax.sharding import Mesh

from asym_jax.arrays import Params
from asym_jax.config import TrainConfig
from asym_jax.data.latent_cache import CachedBatch
from asym_jax.training.log import Log
from asym_jax.training.networks import Networks
from asym_jax.training.sharding import batch_sharding, replicated, state_shardings
from asym_jax.training.state import TrainState
from asym_jax.training.step import train_step


class Program:
    """The compiled update: one without a critic until it wakes, then one with it."""

    def __init__(self, config: TrainConfig, networks: Networks, mesh: Mesh, log: Log) -> None:
        self._config, self._networks, self._mesh, self._log = config, networks, mesh, log
        self._root_key = jax.random.key(config.seed)
        self._compiled: dict[bool, Callable] = {}

    def __call__(self, n: int, frozen: Params, state: TrainState, batch: jax.Array | CachedBatch) -> Callable:
        """The function (frozen, state, batch) -> (state, metrics) of step `n`; it donates the state."""
        awake = self._networks.critic is not None and n >= self._config.loss.critic_start
        if awake not in self._compiled:
            begin = time.monotonic()
            self._compiled = {awake: self._jit(state, awake).lower(frozen, state, batch).compile()}
            what = "with" if awake else "without"
            self._log.note(f"compiled the step {what} critic in {time.monotonic() - begin:.0f} s")
        return self._compiled[awake]

    def _jit(self, state: TrainState, awake: bool) -> Callable:
        everywhere, places = replicated(self._mesh), state_shardings(state, self._mesh)

        def update(frozen: Params, state: TrainState, batch: jax.Array | CachedBatch):
            config = self._config
            return train_step(
                self._networks, config.loss, config.optim.ema_decay, frozen, self._root_key, state, batch, critic_awake=awake
            )

        return jax.jit(
            update,
            in_shardings=(everywhere, places, batch_sharding(self._mesh)),
            out_shardings=(places, everywhere),
            donate_argnums=1,
        )

"""The compiled update of a run."""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from asym_jax.arrays import Params
from asym_jax.config import TrainConfig
from asym_jax.data.latent_cache import CachedBatch
from asym_jax.training.costs import costs_of
from asym_jax.training.log import Log
from asym_jax.training.networks import Networks
from asym_jax.training.sharding import batch_sharding, replicated
from asym_jax.training.state import TrainState
from asym_jax.training.step import train_step
from asym_jax.training.together import Devices


class Program:
    """The compiled update: one without a critic until it wakes, then one with it."""

    def __init__(self, config: TrainConfig, networks: Networks, mesh: Mesh, log: Log) -> None:
        self._config, self._networks, self._mesh, self._log = config, networks, mesh, log
        self._root_key = jax.random.key(config.seed)
        self._compiled: dict[bool, Callable] = {}

    def prepare(self, start: int, frozen: Params, state: TrainState) -> None:
        """Compiles what the steps from `start` on need, so that a program that does not fit is known now and not after days.

        `frozen` and `state` may be abstract, with shardings.
        """
        for n in (start, self._config.loss.critic_start):
            if start <= n < self._config.optim.steps:
                self._at(n, frozen, state)

    def __call__(self, n: int, frozen: Params, state: TrainState) -> Callable:
        """The function (frozen, state, batch) -> (state, metrics) of step `n`; it donates the state."""
        return self._at(n, frozen, state)

    def _at(self, n: int, frozen: Params, state: TrainState) -> Callable:
        awake = self._networks.critic is not None and n >= self._config.loss.critic_start
        if awake not in self._compiled:
            begin = time.monotonic()
            self._compiled[awake] = compiled = self.lower(frozen, state, critic_awake=awake).compile()
            what = "with" if awake else "without"
            costs = costs_of(compiled, self._config.optim.accumulate)
            self._log.note(f"compiled the step {what} critic in {time.monotonic() - begin:.0f} s: {costs}")
        return self._compiled[awake]

    def lower(self, frozen: Params, state: TrainState, *, critic_awake: bool) -> jax.stages.Lowered:
        """The update, with or without a critic, before it is compiled. Everything stays where it is."""
        config, mesh = self._config, self._mesh
        places, frozen_places = (jax.tree.map(lambda leaf: leaf.sharding, tree) for tree in (state, frozen))
        devices = Devices(mesh, frozen_places, places)
        parts = self._networks.spread_over(mesh.axis_names)

        def update(frozen: Params, state: TrainState, batch: jax.Array | CachedBatch):
            return train_step(
                parts,
                config.loss,
                config.optim.ema_decay,
                frozen,
                self._root_key,
                state,
                batch,
                critic_awake=critic_awake,
                accumulate=config.optim.accumulate,
                devices=devices,
            )

        spread = batch_sharding(mesh)
        program = jax.jit(
            update,
            in_shardings=(frozen_places, places, spread),
            out_shardings=(places, replicated(mesh)),
            donate_argnums=1,
        )
        return program.lower(frozen, state, self._abstract_batch(frozen, spread))

    def _abstract_batch(self, frozen: Params, place: NamedSharding) -> jax.ShapeDtypeStruct | CachedBatch:
        data = self._config.data
        shape = (data.batch_size, data.image_size, data.image_size, 3)
        pixels = jax.ShapeDtypeStruct(shape, jnp.uint8, sharding=place)
        if not data.latent_cache:
            return pixels
        moments = jax.eval_shape(self._networks.moments, frozen, jax.ShapeDtypeStruct(shape, jnp.float32))
        return CachedBatch(pixels, jax.ShapeDtypeStruct(moments.shape, moments.dtype, sharding=place))

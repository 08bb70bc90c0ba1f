"""How the training state comes to be: drawn on its devices, or read straight onto them."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from asym_jax import checkpoint
from asym_jax.arrays import Params
from asym_jax.config import TrainConfig
from asym_jax.training.networks import Networks, initial_state
from asym_jax.training.sharding import FROZEN, state_shardings
from asym_jax.training.state import TrainState


class Blueprint(NamedTuple):
    """What a state will be, and where it will lie."""

    init: Callable[[Params | None], TrainState]
    abstract: TrainState  # shapes
    places: TrainState  # shardings
    frozen_places: Params


class Born(NamedTuple):
    """A state to go on from."""

    state: TrainState
    step: int  # updates it has seen
    pending: dict[str, Any] | None  # what was recorded of the last of them and still waits for its evaluation


def plan(config: TrainConfig, networks: Networks, frozen: Params, given: Params | None, mesh: Mesh) -> Blueprint:
    """Raises InputError if the rules of `config.sharding` do not fit."""
    init = functools.partial(initial_state, config, networks, jax.random.key(config.seed))
    abstract = jax.eval_shape(init, given)
    places = state_shardings(abstract._asdict() | {FROZEN: frozen}, mesh, config.sharding)
    frozen_places = places.pop(FROZEN)
    return Blueprint(init, abstract, TrainState(**places), frozen_places)


def begin(blueprint: Blueprint, given: Params | None, checkpoints: checkpoint.Checkpoints) -> Born:
    """The newest whole checkpoint, or a fresh state."""
    loaded = checkpoints.load_newest(checkpoint.abstract_like(blueprint.abstract, blueprint.places)._asdict())
    if loaded is None:
        return Born(jax.jit(blueprint.init, out_shardings=blueprint.places)(given), 0, None)
    return Born(TrainState(**loaded.items), loaded.step, loaded.notes.get("pending"))

"""Takes the step again that stopped a run, with a check on every module, and says what was not finite first.

The folder that the run named (RUN/diagnosis/step_N) holds the state before the step and its batch; masks and noise
follow from the seed. Nothing is changed. The whole batch runs on one device; where that is too small, JAX_PLATFORMS=cpu
lets the host do it.
"""

import argparse
import math
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding
from jaxtyping import PyTree

from asym_jax import checkpoint
from asym_jax.arrays import Params
from asym_jax.commands import report_errors
from asym_jax.config import LossConfig, TrainConfig
from asym_jax.data.latent_cache import CachedBatch
from asym_jax.errors import InputError
from asym_jax.training.diagnosis import STATE
from asym_jax.training.networks import build, initial_state
from asym_jax.training.probes import Finding, ProbedParts, Probes
from asym_jax.training.state import TrainState
from asym_jax.training.step import Parts, train_step

SHOWN = 20
"""Pictures or tensors that are listed before the rest is only counted."""


class Replay(NamedTuple):
    """A step, taken again with a check on every module."""

    probes: Probes
    metrics: dict[str, float]


def main(arguments: list[str]) -> None:
    """Prints the report on the diagnosis that was named. Raises InputError if it is not whole."""
    parser = argparse.ArgumentParser(
        prog="python -m asym_jax.training.replay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("diagnosis", type=Path, help="folder that a stopped run names")
    place = parser.parse_args(arguments).diagnosis
    batch = read_batch(place)
    with checkpoint.open_folder(place / STATE, checkpoint.Keep(1)) as states:
        if states.newest is None:
            raise InputError(f"{place / STATE} holds no training state")
        config = TrainConfig(**states.config(states.newest))
        networks, frozen, given = build(config)
        abstract = jax.eval_shape(lambda given: initial_state(config, networks, jax.random.key(config.seed), given), given)
        # One device: checks that report to the host make several wait for each other.
        device = SingleDeviceSharding(jax.local_devices()[0])
        places = jax.tree.map(lambda _: device, abstract)
        state = TrainState(**states.load(states.newest, checkpoint.abstract_like(abstract, places)._asdict()))
    frozen, batch = jax.device_put((frozen, batch), device)
    awake = networks.critic is not None and int(state.step) >= config.loss.critic_start
    before = describe_state(state)
    again = replay(networks, config, frozen, state, batch, critic_awake=awake)
    print("\n".join([f"step {int(state.step) + 1} of {place}:", *before, *describe(again)]))


def replay(networks: Parts, config: TrainConfig, frozen: Params, state: TrainState, batch: PyTree, *, critic_awake: bool) -> Replay:
    """Runs the update that follows `state` with checks; the state is left as it is."""
    probes = Probes()
    parts = ProbedParts(networks, probes, config.loss.pixel)
    loss: LossConfig = config.loss

    def step(frozen: Params, state: TrainState, batch: PyTree) -> dict[str, jax.Array]:
        key = jax.random.key(config.seed)
        return train_step(parts, loss, config.optim.ema_decay, frozen, key, state, batch, critic_awake=critic_awake)[1]

    metrics = jax.device_get(jax.jit(step)(frozen, state, batch))
    return Replay(probes, {name: float(value) for name, value in metrics.items()})


def read_batch(place: Path) -> jax.Array | CachedBatch:
    """The batch that all processes saved in a diagnosis. Raises InputError if there is none."""
    paths = sorted(place.glob("batch_*.npz"), key=lambda path: int(path.stem.removeprefix("batch_")))
    if not paths:
        raise InputError(f"{place} is no diagnosis of a run: it holds no batch_0.npz")
    parts = []
    for path in paths:
        with np.load(path) as saved:
            parts.append(dict(saved))
    arrays = {name: jnp.concatenate([part[name] for part in parts]) for name in parts[0]}
    return CachedBatch(**arrays) if "moments" in arrays else arrays["pixels"]


def describe_state(state: TrainState) -> list[str]:
    """Which tensors of a state are not finite."""
    lines = []
    for path, leaf in jax.tree.leaves_with_path(state):
        values = np.asarray(leaf)
        bad = int((~np.isfinite(values)).sum())
        if bad:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            lines.append(f"  before the step, {bad} of {values.size} values of {name} are not finite")
    if not lines:
        return ["  before the step, every parameter and both optimisers are finite"]
    return _some(lines, "  and {} more tensors")


def describe(again: Replay) -> list[str]:
    """The report: the first bad tensor, the pictures it belongs to, and the range of every loss."""
    rows = {name: values for name, values in again.probes.rows.items()}
    lines = [*_first(again), "  by picture:"]
    lines += [f"    {name} from {_extreme(values, 0)} to {_extreme(values, 1)}" for name, values in rows.items()]
    names = sorted(name for name in again.metrics if name.startswith(("loss/", "norm/", "adaptive", "adversarial")))
    return [*lines, "  of the whole step:", *(f"    {name} = {again.metrics[name]:.6g}" for name in names)]


def _first(again: Replay) -> list[str]:
    first = again.probes.first
    checked = f"of {again.probes.checks} tensors, in the order of computing"
    if first is not None:
        return [f"  not finite first, {checked}: {first.place}", f"  {_pictures(first)}"]
    bad = sorted(name for name, value in again.metrics.items() if not math.isfinite(value))
    if bad:
        return [f"  every one {checked}, is finite; what overflows is a sum over them: {', '.join(bad)}"]
    return [f"  every one {checked}, is finite this time, and so is the step: the fault does not repeat on this machine"]


def _pictures(found: Finding) -> str:
    if len(found.bad) == 1:
        return f"one or more of its {found.elements} values are not finite"
    involved = np.flatnonzero(found.bad)
    if len(involved) == len(found.bad):
        return f"in all {len(involved)} pictures of the batch"
    return f"in {len(involved)} of {len(found.bad)} pictures of the batch: {', '.join(_some(map(str, involved), 'and {} more'))}"


def _extreme(values: np.ndarray, column: int) -> str:
    """Smallest (column 0) or largest (1) value with its picture; NaN counts as both."""
    column_values = values[:, column]
    index = int(np.argmin(column_values) if column == 0 else np.argmax(column_values))
    return f"{column_values[index]:.6g} (picture {index})"


def _some(items: "map[str] | list[str]", rest: str) -> list[str]:
    items = list(items)
    return items[:SHOWN] + ([rest.format(len(items) - SHOWN)] if len(items) > SHOWN else [])


if __name__ == "__main__":
    with report_errors():
        main(sys.argv[1:])

"""Steps whose loss or gradients were not finite: skipped, and kept for `asym_jax.training.replay` when they stop the run."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import PyTree

from asym_jax import checkpoint
from asym_jax.arrays import Params
from asym_jax.config import TrainConfig
from asym_jax.errors import Diverged
from asym_jax.training.state import TrainState
from asym_jax.training.workdir import Workdir, write_json

STATE = "state"
"""Folder inside a diagnosis with the whole training state, laid out as a checkpoint."""


class Started(NamedTuple):
    """A step that the loop handed to the devices."""

    done: int  # updates counted after it
    metrics: dict[str, jax.Array]
    batch: PyTree  # this process's share, on the host


class Watch:
    """Lets single steps that are not finite pass, and stops the run at too many in a row.

    The loop hands in each step right after it was started and the one before is looked at, so that the devices
    need not wait for the host. Only when one more bad step would stop the run is each step looked at at once:
    such a step changed nothing, so the state at hand is still the one before it. All processes see the same
    metrics, and so all skip, save and stop together.
    """

    def __init__(self, config: TrainConfig, workdir: Workdir, note: Callable[[str], None]) -> None:
        """`note` prints a line."""
        self._config, self._workdir, self._note = config, workdir, note
        self._in_a_row = 0
        self._last: Started | None = None

    def __call__(self, state: TrainState, done: int, metrics: dict, batch: PyTree) -> None:
        """Hands in the step that was just started, and looks at the one before. Raises as `settle` does."""
        self.settle(state)
        metrics["finite"].copy_to_host_async()
        self._last = Started(done, metrics, batch)
        if self._in_a_row == self._config.optim.skip_limit:
            self.settle(state)

    def settle(self, state: TrainState) -> None:
        """Looks at the step last handed in, if that was not done yet.

        Raises:
            Diverged: it was not finite, and neither were the `optim.skip_limit` steps before it.
        """
        step, self._last = self._last, None
        if step is None:
            return
        # A comparison of arrays would be a program of its own, in line behind the step that was just started.
        if float(step.metrics["finite"]) == 1:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        values = {name: float(value) for name, value in jax.device_get(step.metrics).items()}
        said = f"loss/total = {values['loss/total']}, norm/gradient = {values['norm/gradient']}"
        limit = self._config.optim.skip_limit
        if self._in_a_row <= limit:
            skipped = f", {values['skipped_steps']:.0f} skipped so far" if "skipped_steps" in values else ""
            self._note(f"step {step.done} is skipped, not finite: {said} ({self._in_a_row} in a row of at most {limit}{skipped})")
            return
        place = self._workdir.diagnosis / f"step_{step.done:08}"
        problem = save_diagnosis(place, self._config, step, values, state)
        raise Diverged(
            f"step {step.done}: the loss or its gradients are not finite ({said}), {self._in_a_row} steps in a row. "
            f"{problem or f'`python -m asym_jax.training.replay {place}` finds the first bad tensor.'} "
            "A lower --optim.learning-rate or a longer --optim.warmup-steps usually helps; start over with --fresh."
        )


def save_diagnosis(place: Path, config: TrainConfig, step: Started, metrics: dict[str, float], state: TrainState) -> str | None:
    """Writes all that is needed to take a step again; returns what could not be written, or None.

    These are the batch (each process its share), the whole state before the step, as `state`, which such a step
    changes in nothing but the counter, and for the reader the scalars and the norm of every parameter.
    """
    norms = {name: _norms(tree) for name, tree in (("decoder_norms", state.decoder), ("critic_norms", state.critic))}
    report = {"step": step.done, "metrics": {name: repr(value) for name, value in sorted(metrics.items())}, **norms}
    before = state._replace(step=state.step - 1)
    try:
        place.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(place / f"batch_{jax.process_index()}.npz", **batch_arrays(step.batch))
        if jax.process_index() == 0:
            write_json(place / "report.json", report)
        with checkpoint.open_folder(place / STATE, checkpoint.Keep(1)) as states:
            if states.newest is None:
                states.save(step.done - 1, before._asdict(), config.model_dump(mode="json"))
    except Exception as error:  # whatever it is, it must not hide why the run stops
        return f"What is needed to take it again could not be written to {place}: {error}."
    return None


def batch_arrays(batch: PyTree) -> dict[str, np.ndarray]:
    """The arrays of a batch by name: `pixels`, and `moments` if the encoder's output was cached."""
    return batch._asdict() if hasattr(batch, "_asdict") else {"pixels": batch}


def _norms(params: Params) -> dict[str, str]:
    """L2 norm by parameter path; strings, because JSON knows neither NaN nor infinity."""
    norms = jax.jit(lambda params: jax.tree.map(optax.tree.norm, params))(params)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): repr(float(norm)) for path, norm in jax.tree.leaves_with_path(norms)
    }

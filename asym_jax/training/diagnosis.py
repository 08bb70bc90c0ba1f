"""What is kept of a step whose loss or gradients were not finite."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from asym_jax.arrays import Params
from asym_jax.errors import Diverged
from asym_jax.training.state import TrainState
from asym_jax.training.workdir import Workdir, write_json


def save_diagnosis(
    folder: Path, step: int, metrics: dict[str, float], pixels: UInt8[np.ndarray, "b H W 3"], state: TrainState
) -> Path:
    """Writes the batch, the step's scalars and the norm of every parameter; returns the folder.

    Such a step changes nothing, so the parameters are those before it, or one good update later: the loop looks at a
    step only after it has started the next.
    """
    place = folder / f"step_{step:08}"
    place.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(place / "batch.npz", pixels=pixels)
    write_json(
        place / "report.json",
        {
            "step": step,
            "metrics": {name: repr(value) for name, value in sorted(metrics.items())},
            "decoder_norms": _norms(state.decoder),
            "critic_norms": _norms(state.critic),
        },
    )
    return place


def _norms(params: Params) -> dict[str, str]:
    """L2 norm by parameter path; strings, because JSON knows neither NaN nor infinity."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): repr(float(jnp.linalg.norm(leaf.ravel()))) for path, leaf in leaves
    }


class Watch:
    """Stops the run at the first step that is not finite."""

    def __init__(self, workdir: Workdir) -> None:
        self._workdir = workdir
        self._last: tuple | None = None

    def __call__(self, state: TrainState, done: int, metrics: dict, pixels: np.ndarray) -> None:
        """Hands in the step that was just started, and looks at the one before."""
        self.settle(state)
        self._last = (done, metrics, pixels)

    def settle(self, state: TrainState) -> None:
        """Looks at the step last handed in."""
        if self._last is None:
            return
        done, metrics, pixels = self._last
        if metrics["finite"] == 1:
            return
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        place = save_diagnosis(self._workdir.diagnosis, done, values, pixels, state)
        raise Diverged(
            f"step {done}: the loss or its gradients are not finite (loss/total = {values['loss/total']}, "
            f"norm/gradient = {values['norm/gradient']}). Batch, scalars and parameter norms are in {place}. "
            "A lower --optim.learning-rate or a longer --optim.warmup-steps usually helps; start over with --fresh."
        )

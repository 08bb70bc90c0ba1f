"""The regular look at a run: held-out scores, and a sheet of pictures."""

import time

from jax.sharding import Mesh

from asym_jax.arrays import Params
from asym_jax.checkpoint.agreement import any_of
from asym_jax.config import TrainConfig
from asym_jax.data.sources import Source
from asym_jax.errors import InputError
from asym_jax.sheets import save_picture
from asym_jax.training import hosts
from asym_jax.training.durable import Attempts
from asym_jax.training.held_out import HeldOut
from asym_jax.training.log import Log
from asym_jax.training.networks import Networks
from asym_jax.training.state import TrainState
from asym_jax.training.workdir import Workdir
from asym_jax.weights.networks import LpipsWeights, load_lpips


class Judge:
    """Measures the held-out pictures, logs the scores and draws the sample sheet."""

    def __init__(self, config: TrainConfig, networks: Networks, source: Source, mesh: Mesh, workdir: Workdir, log: Log) -> None:
        self._held_out = None
        self._workdir, self._log = workdir, log
        self._attempts = Attempts(str(workdir.samples))
        if len(source):
            data = config.data
            shape = {"recipe": data.mask, "image_size": data.image_size, "batch_size": data.batch_size, "rows": config.log.samples}
            self._held_out = HeldOut(networks, source, mesh, **shape, perceptual=_lpips_if_there(log))

    def __call__(self, done: int, frozen: Params, state: TrainState) -> dict[str, float]:
        """The scores after `done` steps, as `HeldOut.measure` names them, and the seconds it took; empty if nothing is held out."""
        if self._held_out is None:
            return {}
        begin = time.monotonic()
        scores = self._held_out.measure(frozen, state.best_decoder)
        if hosts.is_first():
            sheet = self._held_out.sheet()
            self._attempts(lambda: save_picture(sheet, self._workdir.samples / f"step_{done:08}.png"))
        shown = [
            f"{label} {scores[f'held_out/{name}']:.{digits}f} (plain VAE {scores[f'held_out/plain_{name}']:.{digits}f})"
            for name, label, digits in (("l1", "L1", 4), ("pre_error", "pre_error", 5))
            if f"held_out/{name}" in scores
        ]
        self._log.note(f"step {done}: held-out {', '.join(shown)}")
        return scores | {"evaluation_seconds": time.monotonic() - begin}


def _lpips_if_there(log: Log) -> LpipsWeights | None:
    """The weights of LPIPS, or None after a line that says why they cannot be used.

    All processes measure it or none does: with two programs they would wait for each other's exchanges for ever.
    """
    weights, problem = None, "another process cannot read its weights, which must be on every host"
    try:
        weights = load_lpips()
    except InputError as error:
        problem = str(error)
    if any_of(weights is None):
        log.note(f"held-out LPIPS is left out: {problem}")
        return None
    return weights

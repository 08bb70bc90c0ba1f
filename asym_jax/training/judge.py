"""The regular look at a run: held-out scores, and a sheet of pictures."""

from jax.sharding import Mesh

from asym_jax.arrays import Params
from asym_jax.config import TrainConfig
from asym_jax.data.sources import Source
from asym_jax.sheets import save_picture
from asym_jax.training.durable import Attempts
from asym_jax.training.held_out import HeldOut
from asym_jax.training.log import Log
from asym_jax.training.networks import Networks
from asym_jax.training.state import TrainState
from asym_jax.training.workdir import Workdir


class Judge:
    """Measures the held-out pictures, logs the scores and draws the sample sheet."""

    def __init__(self, config: TrainConfig, networks: Networks, source: Source, mesh: Mesh, workdir: Workdir, log: Log) -> None:
        self._held_out = None
        if len(source):
            shape = {"recipe": config.data.mask, "image_size": config.data.image_size, "batch_size": config.data.batch_size}
            self._held_out = HeldOut(networks, source, mesh, **shape)
        self._rows, self._workdir, self._log = min(config.log.samples, config.data.batch_size), workdir, log
        self._attempts = Attempts(str(workdir.samples))

    def __call__(self, done: int, frozen: Params, state: TrainState) -> dict[str, float]:
        """The scores after `done` steps, as `HeldOut.measure` names them; empty if no pictures are held out."""
        if self._held_out is None:
            return {}
        scores = self._held_out.measure(frozen, state.best_decoder)
        sheet = self._held_out.sheet(frozen, state.best_decoder, self._rows)
        self._attempts(lambda: save_picture(sheet, self._workdir.samples / f"step_{done:08}.png"))
        shown = [
            f"{label} {scores[f'held_out/{name}']:.{digits}f} (plain VAE {scores[f'held_out/plain_{name}']:.{digits}f})"
            for name, label, digits in (("l1", "L1", 4), ("pre_error", "pre_error", 5))
            if f"held_out/{name}" in scores
        ]
        self._log.note(f"step {done}: held-out {', '.join(shown)}")
        return scores

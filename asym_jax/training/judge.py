"""The regular look at a run: held-out scores, and a sheet of pictures."""

from jax.sharding import Mesh

from asym_jax.arrays import Params
from asym_jax.config import TrainConfig
from asym_jax.data.sources import Source
from asym_jax.sheets import save_picture
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

    def __call__(self, done: int, frozen: Params, state: TrainState) -> None:
        if self._held_out is None:
            return
        scores = self._held_out.measure(frozen, state.best_decoder)
        self._log.scalars(done, scores)
        save_picture(self._held_out.sheet(frozen, state.best_decoder, self._rows), self._workdir.samples / f"step_{done:08}.png")
        self._log.note(
            f"step {done}: held-out L1 {scores['held_out/l1']:.4f} (plain VAE {scores['held_out/plain_l1']:.4f}), "
            f"pre_error {scores['held_out/pre_error']:.5f} (plain VAE {scores['held_out/plain_pre_error']:.5f})"
        )

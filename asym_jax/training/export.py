"""What remains of a run: a decoder that loads anywhere, and a card that says where it came from.

A run that ends writes it to RUN/decoder. Of a run that was stopped it can be written from a checkpoint, the newest unless
--step names another one; the run is left as it is, and may go on.
"""

import argparse
import json
import sys
from pathlib import Path

import jax
from jax.sharding import Mesh, SingleDeviceSharding

from asym_jax import checkpoint
from asym_jax.arrays import Params
from asym_jax.checkpoint.manifest import flaw, has_manifest
from asym_jax.commands import number, report_errors
from asym_jax.config import TrainConfig
from asym_jax.errors import CannotSave, InputError
from asym_jax.training import hosts
from asym_jax.training.lock import refuse_if_held
from asym_jax.training.networks import Networks, build, fresh_decoder
from asym_jax.training.state import TrainState
from asym_jax.training.workdir import Workdir
from asym_jax.weights import save_pretrained
from asym_jax.weights.card import Card

HELD_OUT = "held_out/"


def main(arguments: list[str]) -> None:
    """Writes the decoder of a stopped run. Raises InputError if it has no such checkpoint, or is still going on."""
    parser = argparse.ArgumentParser(
        prog="python -m asym_jax.training.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    parser.add_argument("--step", type=number, metavar="N", help="its checkpoint; default: the newest")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write; default RUN/decoder")
    asked = parser.parse_args(arguments)
    out = asked.out or asked.run / "decoder"
    try:
        print(f"{out}: the decoder of step {export_checkpoint(Workdir(asked.run), asked.step, out)}")
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror or error}") from error


def export_checkpoint(workdir: Workdir, step: int | None, out: Path) -> int:
    """Writes the (averaged) decoder of a checkpoint as `export` does, and returns the step of that. Raises InputError as `main`."""
    refuse_if_held(workdir.lock)
    if not workdir.checkpoints.is_dir():
        raise InputError(f"{workdir.root} holds no checkpoints of a run")
    with checkpoint.open_folder(workdir.checkpoints, checkpoint.Keep(1)) as there:
        step = there.newest if step is None else step
        place = workdir.checkpoints / str(step)
        others = f"There are those of steps {', '.join(map(str, there.steps)) or 'none'}; --step picks one."
        if step not in there.steps:
            raise InputError(f"{workdir.checkpoints} holds no checkpoint {'' if step is None else step}. {others}")
        if has_manifest(place) and (problem := flaw(place)):
            raise InputError(f"checkpoint {place} is damaged ({problem}). {others}")
        try:
            config = TrainConfig(**there.config(step))
        except ValueError as error:  # unreadable, or of another version of this program
            raise InputError(f"checkpoint {place}: its config cannot be read ({error}). {others}") from error
        # Neither LPIPS nor what training began with is needed here, or must still be where it was.
        loss, begun = config.loss.model_copy(update={"perceptual": 0.0}), config.model.model_copy(update={"init": "random"})
        networks, frozen, _ = build(config.model_copy(update={"loss": loss, "model": begun}))
        name = "average" if config.optim.ema_decay else "decoder"
        abstract = jax.eval_shape(lambda: fresh_decoder(networks.model, jax.random.key(0)))
        device = SingleDeviceSharding(jax.local_devices()[0])
        places = jax.tree.map(lambda _: device, abstract)
        decoder = there.load(step, {name: checkpoint.abstract_like(abstract, places)})[name]
    params = jax.device_get(networks.whole(frozen, decoder))
    save_pretrained(out, networks.model, params, card=card_of(config, step, workdir.metrics))
    return step


def export(config: TrainConfig, networks: Networks, frozen: Params, state: TrainState, workdir: Workdir, mesh: Mesh) -> None:
    """Writes the averaged decoder with its encoder in diffusers' layout, and its model card. Every process must call it.

    Raises:
        CannotSave: the folder cannot be written.
    """
    params = hosts.fetch(networks.whole(frozen, state.best_decoder), mesh)
    if not hosts.is_first():
        return
    try:
        save_pretrained(workdir.decoder, networks.model, params, card=card_of(config, int(state.step), workdir.metrics))
    except (OSError, InputError) as error:
        raise CannotSave(
            f"the decoder cannot be written ({error}). All steps are done and saved: mend that; the same "
            "command writes the decoder."
        ) from error


def card_of(config: TrainConfig, steps: int, metrics: Path) -> Card:
    """What the settings and the last measurement in metrics.jsonl say of a run."""
    measured = last_measurement(metrics, steps)
    return Card(
        base=config.model.vae,
        init=config.model.init,
        data=config.data.source,
        steps=steps,
        batch_size=config.data.batch_size,
        image_size=config.data.image_size,
        metrics=measured,
        measured_on=f"{config.data.held_out} pictures that were held out, at {config.data.image_size} pixels" if measured else None,
    )


def last_measurement(metrics: Path, step: int) -> dict[str, float]:
    """The newest measurements on held-out pictures up to a step, by name without `held_out/`; empty if there are none.

    Half-written lines are passed over, and values that were not finite (null) are left out.
    """
    lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.is_file() else []
    for line in reversed(lines):
        try:
            record = dict(json.loads(line))
        except (ValueError, TypeError):
            continue
        found = {name.removeprefix(HELD_OUT): value for name, value in record.items() if name.startswith(HELD_OUT)}
        if found and record["step"] <= step:
            return {name: value for name, value in found.items() if value is not None}
    return {}


if __name__ == "__main__":
    with report_errors("nothing was changed"):
        main(sys.argv[1:])

"""What remains of a run: a decoder that loads anywhere, and a card that says where it came from."""

import json
from pathlib import Path

from jax.sharding import Mesh

from asym_jax.arrays import Params
from asym_jax.config import TrainConfig
from asym_jax.errors import CannotSave, InputError
from asym_jax.training import hosts
from asym_jax.training.networks import Networks
from asym_jax.training.state import TrainState
from asym_jax.training.workdir import Workdir
from asym_jax.weights import save_pretrained
from asym_jax.weights.card import Card

HELD_OUT = "held_out/"


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
    measured = last_measurement(metrics)
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


def last_measurement(metrics: Path) -> dict[str, float]:
    """The newest measurements on held-out pictures, by name without `held_out/`; empty if there are none.

    Half-written lines are passed over, and values that were not finite (null) are left out.
    """
    lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.is_file() else []
    for line in reversed(lines):
        try:
            record = dict(json.loads(line))
        except (ValueError, TypeError):
            continue
        found = {name.removeprefix(HELD_OUT): value for name, value in record.items() if name.startswith(HELD_OUT)}
        if found:
            return {name: value for name, value in found.items() if value is not None}
    return {}

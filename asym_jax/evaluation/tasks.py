"""From a command to a report."""

import json
from pathlib import Path
from typing import NamedTuple

import jax

from asym_jax.arrays import Params
from asym_jax.commands import EvalCommand
from asym_jax.config import SMALLEST_PICTURE
from asym_jax.errors import InputError
from asym_jax.evaluation.pairs import load_pairs
from asym_jax.evaluation.reconstruct import VANILLA, Decoders, reconstruct, require_same_encoder
from asym_jax.evaluation.report import MASKED, ORIGINAL, make_folder, summary_lines, write_report
from asym_jax.models.autoencoder import AsymmetricAutoencoder, SymmetricAutoencoder
from asym_jax.models.vq import VQModel
from asym_jax.weights import load_pretrained
from asym_jax.weights.architecture import Autoencoder

LATENTS = ("mean of the posterior of the whole picture", "codebook entries nearest to the encoder's output for the whole picture")


class Subjects(NamedTuple):
    """What is compared, and at which size."""

    decoders: Decoders
    vae: str
    image_size: int


def run(command: EvalCommand) -> None:
    """Evaluates, writes the report and prints its table.

    Raises:
        InputError: weights, pictures, masks or the output folder are not usable.
    """
    decoders, vae, size = _subjects(command)
    stride = 2 ** (len(decoders.model.up_block_out_channels) - 1)
    if size % stride or size < SMALLEST_PICTURE:
        raise InputError(f"--image-size {size} must be a multiple of {stride}, and at least {SMALLEST_PICTURE}")
    pairs = load_pairs(command.images, command.masks, size=size, limit=command.limit)
    devices = f"{jax.device_count()} {jax.devices()[0].platform} device(s)"
    print(f"{len(pairs.names)} pictures of {size} pixels, masks {command.masks}, {devices}")
    make_folder(command.out)
    result = reconstruct(decoders, pairs, batch_size=command.batch_size, shown=command.sheet_rows)
    settings = {
        "decoder": str(command.run or command.weights),
        "vae": vae,
        "images": str(command.images),
        "masks": command.masks,
        "image_size": size,
        "latents": LATENTS[isinstance(decoders.vae, VQModel)],
        "quantise": "round",
    }
    write_report(command.out, command.task, settings, pairs, result)
    print("\n".join(summary_lines(result.rows)))
    for name, reason in result.skipped.items():
        print(f"{name} was not measured: {reason}")
    for note in result.notes:
        print(f"note: {note}")
    print(f"report: {command.out / 'report.html'}")


def _subjects(command: EvalCommand) -> Subjects:
    if command.run:
        trained_with, trained_size = _read_run(command.run)
        weights = command.run / "decoder"
        if not weights.is_dir():
            raise InputError(f"--run {command.run}: no decoder/ there yet; it is written when the run ends")
        vae_source, name = command.vae or trained_with, command.run.resolve().name
    else:
        weights, vae_source, trained_size = command.weights, command.vae, None
        name = Path(command.weights).resolve().name
    model, params = _load("--run" if command.run else "--weights", weights)
    if not isinstance(model, AsymmetricAutoencoder):
        raise InputError(f"{weights} is a plain autoencoder; an asymmetric one is needed to compare with it")
    vae, vae_params = _load("--vae", vae_source)
    if not isinstance(vae, SymmetricAutoencoder):
        raise InputError(f"--vae {vae_source} is an asymmetric autoencoder; a plain AutoencoderKL is needed, or a VQModel")
    if name in (VANILLA, ORIGINAL, MASKED):  # columns of the report
        name = f"{name} (asymmetric)"
    decoders = Decoders(vae, vae_params, model, params, name)
    require_same_encoder(decoders)
    return Subjects(decoders, vae_source, command.image_size or trained_size or model.sample_size)


def _load(option: str, source: str | Path) -> tuple[Autoencoder, Params]:
    try:
        return load_pretrained(source)
    except InputError as error:
        raise InputError(f"{option} {source}: {error}") from error


def _read_run(run: Path) -> tuple[str, int]:
    """The autoencoder that a run started from, and the size of its pictures."""
    path = run / "config.json"
    try:
        config = json.loads(path.read_text())
        return config["model"]["vae"], config["data"]["image_size"]
    except (OSError, ValueError) as error:
        raise InputError(f"--run {run}: {path} cannot be read ({error}); is this the folder of a training run?") from error
    except (KeyError, TypeError) as error:
        raise InputError(f"--run {run}: {path} is not the config of a training run; a decoder alone goes with --weights") from error

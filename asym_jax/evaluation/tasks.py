"""From a command to a report."""

import json
from pathlib import Path

import jax

from asym_jax.commands import EvalCommand
from asym_jax.errors import InputError
from asym_jax.evaluation.pairs import load_pairs
from asym_jax.evaluation.reconstruct import Decoders, reconstruct, require_same_encoder
from asym_jax.evaluation.report import summary_lines, write_report
from asym_jax.models.autoencoder import AsymmetricAutoencoderKL, AutoencoderKL
from asym_jax.weights import load_pretrained


def run(command: EvalCommand) -> None:
    """Evaluates, writes the report and prints its table.

    Raises:
        InputError: weights, pictures, masks or the output folder are not usable.
    """
    decoders, trained_size = _decoders(command)
    size = command.image_size or trained_size
    stride = 2 ** (len(decoders.model.up_block_out_channels) - 1)
    if size % stride:
        raise InputError(f"--image-size {size} must be a multiple of {stride}")
    pairs = load_pairs(command.images, command.masks, size=size, limit=command.limit)
    print(
        f"{len(pairs.names)} pictures of {size} pixels, masks {command.masks}, {jax.device_count()} {jax.devices()[0].platform} device(s)"
    )
    result = reconstruct(decoders, pairs, batch_size=command.batch_size, shown=command.sheet_rows)
    settings = {
        "decoder": str(command.run or command.weights),
        "vae": command.vae or _run_config(command.run)["model"]["vae"],
        "images": str(command.images),
        "masks": command.masks,
        "image_size": size,
        "latents": "mean of the posterior of the whole picture",
        "quantise": "round",
    }
    write_report(command.out, command.task, settings, pairs, result)
    print("\n".join(summary_lines(result.rows)))
    for name, reason in result.skipped.items():
        print(f"{name} was not measured: {reason}")
    for note in result.notes:
        print(f"note: {note}")
    print(f"report: {command.out / 'report.html'}")


def _decoders(command: EvalCommand) -> tuple[Decoders, int]:
    """Both autoencoders, and the picture size that the asymmetric one was trained at."""
    if command.run:
        config = _run_config(command.run)
        weights = command.run / "decoder"
        if not weights.is_dir():
            raise InputError(f"--run {command.run}: no decoder/ there yet; it is written when the run ends")
        vae_source, size = command.vae or config["model"]["vae"], config["data"]["image_size"]
        name = command.run.resolve().name
    else:
        weights, vae_source, size = command.weights, command.vae, None
        name = Path(command.weights).name
    model, params = load_pretrained(weights)
    if not isinstance(model, AsymmetricAutoencoderKL):
        raise InputError(f"{weights} is a plain autoencoder; an asymmetric one is needed to compare with it")
    vae, vae_params = load_pretrained(vae_source)
    if not isinstance(vae, AutoencoderKL):
        raise InputError(f"--vae {vae_source} is an asymmetric autoencoder; a plain AutoencoderKL is needed")
    decoders = Decoders(vae, vae_params, model, params, name)
    require_same_encoder(decoders)
    return decoders, size or model.sample_size


def _run_config(run: Path) -> dict:
    path = run / "config.json"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"--run {run}: {path} cannot be read ({error}); is this the folder of a training run?") from error

"""What is compared: the plain decoder, with and without pasting, and any number of trained ones of the same encoder."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from asym_jax.arrays import Params
from asym_jax.errors import InputError
from asym_jax.evaluation.workbook import file_name
from asym_jax.models.autoencoder import AsymmetricAutoencoder, SymmetricAutoencoder
from asym_jax.weights import load_pretrained
from asym_jax.weights.architecture import Autoencoder
from asym_jax.weights.kinship import differing_half

VANILLA, PASTED = "vanilla", "copy-and-paste"
WITHOUT = " without condition"
RESERVED = (VANILLA, PASTED, "original", "masked", "mask")
"""Names of rows and columns that no decoder may have."""


class Decoder(NamedTuple):
    """A trained decoder, with the encoder that it was trained for."""

    name: str
    source: str
    model: AsymmetricAutoencoder
    params: Params


class Plain(NamedTuple):
    """An autoencoder that was loaded already."""

    source: str
    model: Autoencoder
    params: Params


class Subjects(NamedTuple):
    """The plain autoencoder and the decoders that are compared with its own."""

    vae: SymmetricAutoencoder
    vae_params: Params
    vae_source: str
    decoders: tuple[Decoder, ...]
    trained_size: int  # side of the pictures that the first decoder was trained on

    @property
    def params(self) -> Params:
        """All parameters, as the compiled programs take them."""
        return {"vae": self.vae_params, "decoders": [decoder.params for decoder in self.decoders]}


def load_subjects(runs: Sequence[Path], weights: Sequence[str], vae: str | Plain | None) -> Subjects:
    """Loads every decoder, and the autoencoder `vae`, by default the one that the runs started from.

    Raises:
        InputError: something cannot be read, is of the wrong kind, or was trained for another encoder.
    """
    sources, sizes = [], []
    for run in runs:
        trained_with, size = _read_run(run)
        if not (run / "decoder").is_dir():
            raise InputError(f"--run {run}: no decoder/ there yet; it is written when the run ends")
        vae = vae or trained_with
        sizes.append(size)
        sources.append(("--run", run / "decoder", run.resolve().name))
    sources += [("--weights", source, Path(source).resolve().name) for source in weights]
    if vae is None:
        raise InputError("--vae is missing: the plain autoencoder that the decoders are compared with")
    decoders = []
    for option, source, name in sources:
        model, params = _load(option, source)
        if not isinstance(model, AsymmetricAutoencoder):
            raise InputError(f"{source} is a plain autoencoder; an asymmetric one is needed to compare with it")
        decoders.append(Decoder(free_name(name, decoders), str(source), model, params))
    plain = vae if isinstance(vae, Plain) else Plain(vae, *_load("--vae", vae))
    if not isinstance(plain.model, SymmetricAutoencoder):
        raise InputError(f"--vae {plain.source} is an asymmetric autoencoder; a plain AutoencoderKL is needed, or a VQModel")
    size = (*sizes, decoders[0].model.sample_size)[0]
    subjects = Subjects(plain.model, plain.params, plain.source, tuple(decoders), size)
    require_same_encoder(subjects)
    return subjects


def require_same_encoder(subjects: Subjects) -> None:
    """Raises InputError unless all halves come from one VAE: else the same latents would not mean the same."""
    for decoder in subjects.decoders:
        part = differing_half(decoder.params, subjects.vae_params)
        if part:
            raise InputError(f"{decoder.name} was not trained for this VAE: their {part}s differ. Give the right one with --vae.")


def fingerprint(params: Params) -> str:
    """SHA-256 of names, shapes and numbers: two files of the same weights have the same, whatever their format."""
    total = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(params):
        array = np.ascontiguousarray(leaf)
        total.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape} ".encode())
        total.update(array.reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def free_name(name: str, taken: Sequence[Decoder]) -> str:
    """`name`, or a variation of it whose folder is not that of another column, even where case does not matter."""
    used = {file_name(column).casefold() for column in RESERVED}
    if file_name(name).casefold() in used:
        name = f"{name} (asymmetric)"
    for decoder in taken:
        used |= {file_name(decoder.name + end).casefold() for end in ("", WITHOUT)}
    chosen, number = name, 2
    while not used.isdisjoint(file_name(chosen + end).casefold() for end in ("", WITHOUT)):
        chosen, number = f"{name} ({number})", number + 1
    return chosen


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

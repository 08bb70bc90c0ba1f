"""Which names a file uses, and the same tensors under PyTorch diffusers' names of today."""

from collections import Counter
from typing import Literal, NamedTuple

from asym_jax.errors import InputError
from asym_jax.weights.convert import Tensor, Tensors
from asym_jax.weights.names import from_flax, todays_name
from asym_jax.weights.official import from_official

Naming = Literal["diffusers", "flax", "official"]

FIRST_STAGE = "first_stage_model."
"""What the autoencoder's names begin with in a checkpoint of a whole latent diffusion model."""

DROPPED = (
    "loss.",  # critic and LPIPS, kept beside the autoencoder while training
    "model_ema.",  # averages under mangled names
    "decoder.up_layers.",  # the reference saves these, but never computes with them
    "decoder.condition_encoder.up_layers.",  # likewise, in early files of diffusers
    "colorize",  # paints segmentation maps
)
"""Beginnings of names that are left out on purpose."""


class Canonical(NamedTuple):
    """An autoencoder's tensors as PyTorch diffusers names and lays them out."""

    tensors: dict[str, Tensor]
    naming: Naming  # what the file used
    dropped: dict[str, int]  # how many tensors were left out, by the beginning of their names


def canonical(tensors: Tensors, *, source: str) -> Canonical:
    """Recognises the names in use and translates them; no numbers are read.

    Raises:
        InputError: they are not those of an autoencoder, or one tensor is there under two names.
    """
    naming = recognise(tensors, source=source)
    kept, dropped = _sift(tensors)
    try:
        if naming == "flax":
            return Canonical(from_flax(kept), naming, dropped)
        if naming == "official":
            return Canonical(from_official(kept), naming, dropped)
    except InputError as error:
        raise InputError(f"{source} does not fit: {error}") from None
    renamed: dict[str, Tensor] = {}
    for name, tensor in kept.items():
        if todays_name(name) in renamed:
            raise InputError(f"{source} holds {todays_name(name)} twice, under its old and under its new name")
        renamed[todays_name(name)] = tensor
    return Canonical(renamed, naming, dropped)


def recognise(tensors: Tensors, *, source: str) -> Naming:
    """Whose names these are. Raises InputError if they are not those of an autoencoder."""
    begins = {tuple(name.removeprefix(FIRST_STAGE).replace("/", ".").split(".")[:2]) for name in tensors}
    if any("/" in name for name in tensors) and {("encoder", "conv_in"), ("decoder", "conv_in")} <= begins:
        return "flax"
    if {("encoder", "down"), ("decoder", "up")} <= begins:
        return "official"
    if {("encoder", "down_blocks"), ("decoder", "up_blocks")} <= begins:
        return "diffusers"
    examples = ", ".join(list(tensors)[:4])
    raise InputError(
        f"{source} does not hold an autoencoder (encoder and decoder) under the names of diffusers, Flax or latent diffusion; "
        f"it holds {len(tensors)} tensors, such as {examples[:300] or 'none'}"
    )


def _sift(tensors: Tensors) -> tuple[dict[str, Tensor], dict[str, int]]:
    """What belongs to the autoencoder, and how much was left out."""
    inside = any(name.startswith(FIRST_STAGE) for name in tensors)
    kept: dict[str, Tensor] = {}
    dropped: Counter[str] = Counter()
    for name, tensor in tensors.items():
        short = name.removeprefix(FIRST_STAGE)
        beginning = next((begin for begin in DROPPED if short.startswith(begin)), None)
        if inside and short == name:
            dropped[name.partition(".")[0] + "."] += 1
        elif beginning:
            dropped[beginning] += 1
        else:
            kept[short] = tensor
    return kept, dict(dropped)

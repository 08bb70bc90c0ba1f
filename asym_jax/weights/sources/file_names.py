"""What files with weights are called, and which of several is meant."""

from collections.abc import Collection, Sequence

CONFIG = "config.json"

SAFETENSORS = "diffusion_pytorch_model.safetensors"
MSGPACK = "diffusion_flax_model.msgpack"
WEIGHTS = (
    SAFETENSORS,
    f"{SAFETENSORS}.index.json",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.bin.index.json",
    MSGPACK,
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.fp16.bin",
)
"""What diffusers calls the file of a model's weights, the preferred one first."""

INDEX = ".index.json"
SUFFIXES = (".safetensors", INDEX, ".bin", ".ckpt", ".pth", ".pt", ".msgpack")
"""Endings of files that may hold weights."""

VAE = "vae"
"""The folder of the autoencoder in one of a whole pipeline."""

LISTED = 8
"""Names in a message."""


def choose(names: Sequence[str]) -> str | None:
    """The file with weights among the files of a folder: one of diffusers' names, or the only one there is."""
    for name in WEIGHTS:
        if name in names:
            return name
    candidates = [name for name in names if name.endswith(SUFFIXES)]
    return candidates[0] if len(candidates) == 1 else None


def belongs(weights: str, *, asked_for: bool) -> bool:
    """Whether the config.json beside `weights` describes it.

    In a folder that was given, it does. A file that was `asked_for` by its own
    name may lie beside the config.json of something else (a download folder),
    unless it is named as in a folder of diffusers.
    """
    return weights in WEIGHTS or not asked_for


def lack(folder: str, names: Sequence[str], subfolders: Collection[str], vae: str) -> str:
    """Why `choose(names)` is None, and what to do; `vae` is what `VAE` in this folder would be called."""
    candidates = sorted(name for name in names if name.endswith(SUFFIXES))
    hint = f"; did you mean {vae}?" if VAE in subfolders else ""
    if candidates:
        more = " ..." if len(candidates) > LISTED else ""
        return f"{folder} holds several files with weights; give one of them: {', '.join(candidates[:LISTED])}{more}{hint}"
    there = ", ".join(sorted([*names, *(f"{name}/" for name in subfolders)])[:LISTED]) or "nothing"
    return f"{folder} must hold {SAFETENSORS} or another file with weights, and holds {there}{hint}"

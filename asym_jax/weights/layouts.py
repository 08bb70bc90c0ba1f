"""The forms in which an autoencoder is written: a folder of PyTorch diffusers, one of diffusers' Flax, or one official file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from jax.typing import DTypeLike

from asym_jax.errors import InputError
from asym_jax.weights.architecture import Autoencoder, abstract_params, config_of
from asym_jax.weights.card import CARD, Card, card_text, is_ours, write_card
from asym_jax.weights.convert import Tensor, Tensors, cast, check, from_torch_axes
from asym_jax.weights.files.flax_file import write_flax
from asym_jax.weights.files.safetensors_file import read_safetensors, write_safetensors
from asym_jax.weights.folders import replacing, replacing_file
from asym_jax.weights.names import torch_name
from asym_jax.weights.official import to_official
from asym_jax.weights.opened import CARD_ENTRY, CONFIG_ENTRY
from asym_jax.weights.sources.file_names import CONFIG, MSGPACK, SAFETENSORS

Layout = Literal["diffusers", "flax", "official"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

SAVED_TYPES = ("float32", "bfloat16", "float16")


def write_autoencoder(
    path: Path, model: Autoencoder, tensors: Tensors, *, layout: Layout, dtype: DTypeLike | None, card: Card
) -> None:
    """Writes `tensors` (PyTorch diffusers' names and layout) to a new place or over what was written there before.

    Whatever happens meanwhile, `path` holds either what it held or the complete new content.

    Args:
        path: a folder; for "official", a file that ends in .safetensors.
        dtype: one of `SAVED_TYPES`; None keeps the type of each tensor.

    Raises:
        InputError: the tensors are not those of `model`, values do not fit `dtype`,
            or `path` holds something else or cannot be written.
    """
    if dtype is not None and jnp.dtype(dtype).name not in SAVED_TYPES:
        raise InputError(f"weights are saved as {', '.join(SAVED_TYPES)}, not {jnp.dtype(dtype)}")
    if layout not in LAYOUTS:
        raise InputError(f"weights are written in the layout {', '.join(LAYOUTS)}, not {layout!r}")
    check(tensors, abstract_params(model), torch_name, source="the set of parameters to save")
    arrays = {name: cast(name, tensor, tensor.dtype if dtype is None else dtype) for name, tensor in tensors.items()}
    if layout == "official":
        _write_official(path, model, arrays, card)
    else:
        _write_folder(path, model, arrays, layout, card)


def _write_official(path: Path, model: Autoencoder, arrays: Tensors, card: Card) -> None:
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: the official names are written to one file, whose name must end in .safetensors")
    if path.exists() and not _is_ours(path):
        raise InputError(f"{path} is not replaced because it was not written here; choose a new name")
    text = card_text(model, card, params=abstract_params(model))
    carried = {CONFIG_ENTRY: json.dumps(config_of(model)), CARD_ENTRY: text}
    with replacing_file(path) as new:
        write_safetensors(new, to_official(arrays), carried)


def _is_ours(path: Path) -> bool:
    """Whether the file carries what `_write_official` puts into it."""
    try:
        return path.is_file() and CONFIG_ENTRY in read_safetensors(path).metadata
    except InputError:
        return False


def _write_folder(path: Path, model: Autoencoder, arrays: Tensors, layout: Layout, card: Card) -> None:
    config = config_of(model)
    with replacing(path, owned=(CONFIG, SAFETENSORS, MSGPACK, CARD)) as new:
        if layout == "flax":
            config["_class_name"] = FLAX_CLASS.get(config["_class_name"], config["_class_name"])
            write_flax(new / MSGPACK, _as_ours(model, arrays))
        else:
            write_safetensors(new / SAFETENSORS, arrays)
        (new / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        old = path / CARD
        if old.is_file() and not is_ours(old):
            (new / CARD).write_bytes(old.read_bytes())  # somebody wrote this one by hand
        else:
            write_card(new / CARD, model, card, params=abstract_params(model))


FLAX_CLASS: Mapping[str, str] = {
    "AutoencoderKL": "FlaxAutoencoderKL",
    "AsymmetricAutoencoderKL": "FlaxAsymmetricAutoencoderKL",
}
"""What the config.json of a Flax folder calls our classes. diffusers has the first; the second is named after it."""


def _as_ours(model: Autoencoder, arrays: Tensors) -> dict[str, Tensor]:
    """The same arrays under our names and in our layout."""
    return {
        "/".join(keys): np.transpose(arrays[torch_name(keys)], from_torch_axes(keys, len(leaf.shape)))
        for keys, leaf in flatten_dict(abstract_params(model)).items()
    }

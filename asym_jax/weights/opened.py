"""An autoencoder as it was found: architecture, tensors still in their files, and what else was there."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import DTypeLike

from asym_jax.errors import InputError
from asym_jax.weights.architecture import Autoencoder, model_of, read_config
from asym_jax.weights.convert import Tensor
from asym_jax.weights.files.formats import read_tensors
from asym_jax.weights.files.stored import TensorFile
from asym_jax.weights.inferred import infer_config
from asym_jax.weights.naming import Naming, canonical
from asym_jax.weights.sources.locate import locate

CONFIG_ENTRY = "config"
"""Where a safetensors file without config.json carries its text."""
CARD_ENTRY = "card"
"""Where it carries that of the model card."""

SDXL = "conditioner."
"""Tensors beside the first stage that only checkpoints of SDXL have."""
SDXL_SCALING_FACTOR = 0.13025


class Opened(NamedTuple):
    """An autoencoder in files; no numbers have been read."""

    model: Autoencoder
    tensors: Mapping[str, Tensor]  # as PyTorch diffusers names and lays them out
    path: Path  # the file with the weights, or their index
    format: str
    naming: Naming
    described_by: str  # where the architecture was taken from
    dropped: Mapping[str, int]  # tensors left out, by the beginning of their names
    left_out: tuple[str, ...]  # entries of a training checkpoint that are no weights
    metadata: Mapping[str, str]  # text that the file carries


def open_autoencoder(
    source: str | Path, *, revision: str | None = None, subfolder: str | None = None, dtype: DTypeLike = jnp.float32
) -> Opened:
    """Finds, recognises and describes an autoencoder (arguments and errors as in `load_pretrained`)."""
    files = locate(source, revision=revision, subfolder=subfolder)
    content = read_tensors(files.weights)
    found = canonical(content.tensors, source=str(files.weights))
    if files.config is not None:
        model, described_by = read_config(files.config, dtype=dtype), str(files.config)
    elif CONFIG_ENTRY in content.metadata:
        model, described_by = _carried(content, files.weights, dtype), "config in the file's metadata"
    else:
        config = infer_config(found.tensors, source=str(files.weights))
        if SDXL in found.dropped:
            config["scaling_factor"] = SDXL_SCALING_FACTOR
        model, described_by = model_of(config, source=str(files.weights), dtype=dtype), "shapes of the tensors"
    return Opened(
        model,
        found.tensors,
        files.weights,
        content.format,
        found.naming,
        described_by,
        found.dropped,
        content.left_out,
        content.metadata,
    )


def _carried(content: TensorFile, path: Path, dtype: DTypeLike) -> Autoencoder:
    try:
        config = json.loads(content.metadata[CONFIG_ENTRY])
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} carries a config that is not readable as JSON: {error}") from error
    return model_of(config, source=f"the config in {path}", dtype=dtype)

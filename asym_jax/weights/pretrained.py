"""Whole autoencoders from and to folders of PyTorch diffusers."""

import json
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from asym_jax.arrays import Params
from asym_jax.errors import InputError
from asym_jax.weights.architecture import Autoencoder, abstract_params, config_of, read_config
from asym_jax.weights.convert import Tensor, check
from asym_jax.weights.folders import replacing
from asym_jax.weights.formats import CONFIG, READERS, SAFETENSORS, write_safetensors
from asym_jax.weights.locate import locate
from asym_jax.weights.names import from_torch, to_torch, torch_name


def load_pretrained(source: str | Path, *, dtype: DTypeLike = jnp.float32) -> tuple[Autoencoder, Params]:
    """An autoencoder and its parameters.

    Args:
        source: a folder with config.json and diffusion_pytorch_model.safetensors
            or .bin; or, if no such folder exists, a hub id OWNER/NAME[/SUBFOLDER];
            or `asset`, the small autoencoder that comes with this package.
        dtype: the type that the model computes in.

    Returns:
        The model, as its config.json describes it (`AutoencoderKL` or
        `AsymmetricAutoencoderKL`), and its parameters on the default device,
        float32 whatever the file holds.

    Raises:
        InputError: files are absent, damaged or name code to run, or the tensors
            are not exactly those that config.json describes.
    """
    files = locate(source)
    model = read_config(files.config, dtype=dtype)
    tensors = READERS[files.weights.name](files.weights)
    return model, from_torch(tensors, abstract_params(model), source=str(files.weights))


def save_pretrained(folder: str | Path, model: Autoencoder, params: Params, *, dtype: DTypeLike = jnp.float32) -> None:
    """Writes config.json and diffusion_pytorch_model.safetensors, all or nothing (see `folders.replacing`).

    `load_pretrained` reads every result. PyTorch diffusers (0.39) reads and
    decodes as we do every AutoencoderKL, and an AsymmetricAutoencoderKL whose

    - `blend` is "add" (a "concatenate" blend is saved with an extra key `blend`
      and extra tensors `decoder.condition_blends.*`, which PyTorch ignores with a
      warning: its pictures would be wrong), and whose
    - `up_block_out_channels` are four widths (c, min(2c, d), min(4c, d), d) with
      c < d <= 8c, because PyTorch derives the widths of the condition encoder
      from the first and the last. All published decoders, (c, 2c, 4c, 4c), are of
      this kind. Others do not load there, except for four equal widths, which
      load but, with a mask, decode to something else.

    Args:
        folder: is replaced if it holds nothing but these two files.
        params: the parameters of `model`, addressable from this process. With
            several processes, only one should call.
        dtype: float32 or float16, the type in the file.

    Raises:
        InputError: the folder holds other files or cannot be written, the
            parameters are not those of `model`, or they are too large for float16.
    """
    if jnp.dtype(dtype).name not in ("float32", "float16"):
        raise InputError(f"weights are saved as float32 or float16, not {jnp.dtype(dtype)}")
    tensors = to_torch(params)
    check(tensors, abstract_params(model), torch_name, source="the set of parameters to save")
    tensors = {name: _cast(name, tensor, jnp.dtype(dtype)) for name, tensor in tensors.items()}
    with replacing(Path(folder), owned=(CONFIG, SAFETENSORS)) as new:
        (new / CONFIG).write_text(json.dumps(config_of(model), indent=2) + "\n", encoding="utf-8")
        write_safetensors(new / SAFETENSORS, tensors)
        # safetensors makes files that only their owner may read.
        shutil.copymode(new / CONFIG, new / SAFETENSORS)


def _cast(name: str, tensor: Tensor, dtype: np.dtype) -> Tensor:
    if np.abs(tensor).max(initial=0) > jnp.finfo(dtype).max:
        raise InputError(f"{name} has values beyond the range of {dtype}")
    return tensor.astype(dtype)

"""Whole autoencoders from and to everybody's files."""

from pathlib import Path

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from asym_jax.arrays import Params
from asym_jax.weights.architecture import Autoencoder, abstract_params
from asym_jax.weights.card import Card
from asym_jax.weights.folders import on_this_machine
from asym_jax.weights.layouts import Layout, write_autoencoder
from asym_jax.weights.names import from_torch, to_torch
from asym_jax.weights.opened import open_autoencoder


def load_pretrained(
    source: str | Path,
    *,
    revision: str | None = None,
    subfolder: str | None = None,
    dtype: DTypeLike = jnp.float32,
    param_dtype: DTypeLike = jnp.float32,
) -> tuple[Autoencoder, Params]:
    """An autoencoder and its parameters.

    Args:
        source: one of

            - a folder of PyTorch diffusers or of diffusers' Flax (config.json with
              safetensors, .bin or msgpack, in one file or several with an index);
            - one file: safetensors, .bin, .ckpt, .pth or .msgpack, under the names
              of diffusers, Flax, latent diffusion or the official asymmetric
              decoders; without config.json, the shapes tell the architecture;
            - OWNER/NAME[/SUBFOLDER or /FILE][@REVISION] on the Hugging Face hub;
            - a URL that fsspec knows, such as gs://BUCKET/FOLDER;
            - `asset`, the small autoencoder that comes with this package.
        revision: branch, tag or commit on the hub.
        subfolder: folder within `source`.
        dtype: the type that the model computes in.
        param_dtype: the type of the parameters, whatever the file holds.

    Returns:
        The model, as config.json or the tensors describe it, and its parameters on
        the default device. Beside them, no more than a few tensors are in memory
        at any time.

    Raises:
        InputError: files are absent, damaged or name code to run, or the tensors
            are not exactly those that the architecture has (see `naming.DROPPED`
            for those that are left out on purpose).
    """
    opened = open_autoencoder(source, revision=revision, subfolder=subfolder, dtype=dtype)
    expected = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, param_dtype), abstract_params(opened.model))
    return opened.model, from_torch(opened.tensors, expected, source=str(opened.path))


def save_pretrained(
    path: str | Path,
    model: Autoencoder,
    params: Params,
    *,
    layout: Layout = "diffusers",
    dtype: DTypeLike | None = None,
    card: Card | None = None,
) -> None:
    """Writes an autoencoder, all or nothing (see `folders.replacing`).

    `load_pretrained` reads every result. PyTorch diffusers (0.39) reads the layout
    "diffusers" and decodes as we do for every AutoencoderKL and VQModel, and for an
    AsymmetricAutoencoderKL whose

    - `blend` is "add" (a "concatenate" blend is saved with an extra key `blend`
      and extra tensors `decoder.condition_blends.*`, which PyTorch ignores with a
      warning: its pictures would be wrong), and whose
    - `up_block_out_channels` are four widths (c, min(2c, d), min(4c, d), d) with
      c < d <= 8c, because PyTorch derives the widths of the condition encoder
      from the first and the last. All published decoders, (c, 2c, 4c, 4c), are of
      this kind. Others do not load there, except for four equal widths, which
      load but, with a mask, decode to something else.

    Args:
        path: a folder on this machine, which is replaced if it holds nothing but what is written
            here; for the layout "official", a file that ends in .safetensors.
        params: the parameters of `model`, addressable from this process. With
            several processes, only one should call.
        layout: "diffusers" (config.json and safetensors, for PyTorch), "flax"
            (config.json and msgpack, for `asym_jax.pipelines`; diffusers' own Flax
            classes read a plain AutoencoderKL, and have none for an asymmetric one),
            or "official" (the names of the reference implementation).
        dtype: float32, bfloat16 or float16, the type in the file; None keeps the parameters' own.
        card: what the model card (README.md of a folder, `card` in the metadata of an official file) says of the training.

    Raises:
        InputError: `path` holds other files, is a URL or cannot be written, the
            parameters are not those of `model`, or they are too large for `dtype`.
    """
    target = on_this_machine(path)
    write_autoencoder(target, model, to_torch(params), layout=layout, dtype=dtype, card=card or Card())

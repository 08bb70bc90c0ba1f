"""What a file or folder of weights is, in words."""

import math
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from asym_jax.errors import InputError
from asym_jax.weights.architecture import abstract_params
from asym_jax.weights.convert import Tensor, Tensors, check
from asym_jax.weights.files.formats import read_tensors
from asym_jax.weights.files.stored import StoredTensor
from asym_jax.weights.names import torch_name
from asym_jax.weights.opened import Opened, open_autoencoder

NAMINGS = {"diffusers": "PyTorch diffusers", "flax": "Flax diffusers", "official": "latent diffusion and the official decoders"}
PARTS = ("encoder", "decoder.condition_encoder", "decoder", "quant_conv", "post_quant_conv", "quantize")
"""Beginnings of names that are counted together; the first that fits."""


def inspect(
    source: str, *, revision: str | None = None, subfolder: str | None = None, values: bool = False, names: bool = False
) -> str:
    """A description in lines: kind of file, architecture, parameters, what was left out.

    Files that hold no autoencoder are described as far as possible.

    Args:
        values: read all numbers, and say their range and whether all are finite.
        names: list every tensor.

    Raises:
        InputError: as `load_pretrained` does, but for tensors that hold no autoencoder.
    """
    path = Path(os.path.expanduser(source))
    try:
        opened = open_autoencoder(source, revision=revision, subfolder=subfolder)
    except InputError as error:
        if not path.is_file():
            raise
        lines, tensors = list(_unknown(path, error)), read_tensors(path).tensors
    else:
        lines, tensors = list(_autoencoder(opened)), opened.tensors
    lines += list(_numbers(tensors, values))
    if names:
        lines += ["", *(f"{name}  {tuple(tensor.shape)}  {tensor.dtype}" for name, tensor in tensors.items())]
    return "\n".join(lines)


def _autoencoder(opened: Opened) -> Iterator[str]:
    model = opened.model
    yield _line("file", f"{opened.path} ({_bytes(opened.path, opened.tensors)}, {opened.format})")
    yield _line("names", NAMINGS[opened.naming])
    yield _line("architecture", f"{type(model).__name__}, according to {opened.described_by}")
    symmetric = hasattr(model, "block_out_channels")
    down = model.block_out_channels if symmetric else model.down_block_out_channels
    up = model.block_out_channels if symmetric else model.up_block_out_channels
    depth = (model.layers_per_block,) * 2 if symmetric else (model.layers_per_down_block, model.layers_per_up_block)
    yield _line("encoder", f"widths {_listed(down)} from full resolution down, residual blocks per level: {depth[0]}")
    mask = "" if symmetric else f", mask-guided blending ({model.blend})"
    yield _line("decoder", f"widths {_listed(up)}, residual blocks per level: {depth[1] + 1}{mask}")
    codebook = f", {model.num_vq_embeddings:,} codes" if hasattr(model, "num_vq_embeddings") else ""
    stride = 2 ** (len(down) - 1)
    yield _line("latents", f"{model.latent_channels} channels at 1/{stride} size, scaling factor {model.scaling_factor}{codebook}")
    yield from _parts(opened.tensors)
    for begin, count in opened.dropped.items():
        yield _line("left out", f"{count} tensors {begin}*")
    if opened.left_out:
        yield _line("left out", f"entries of training: {', '.join(opened.left_out)}")
    try:
        check(opened.tensors, abstract_params(model), torch_name, source="the file")
        yield _line("complete", "yes: every tensor of the architecture is there, and no other")
    except InputError as error:
        yield _line("complete", f"NO: {error}")


def _unknown(path: Path, error: InputError) -> Iterator[str]:
    content = read_tensors(path)
    yield _line("file", f"{path} ({_bytes(path, content.tensors)}, {content.format})")
    yield _line("architecture", f"not an autoencoder that is known here: {error}")
    if content.left_out:
        yield _line("left out", f"entries of training: {', '.join(content.left_out)}")
    begins = Counter(name.replace("/", ".").partition(".")[0] for name in content.tensors)
    yield _line("tensors", ", ".join(f"{begin}.* ({count})" for begin, count in begins.most_common(8)))
    yield _line("parameters", f"{sum(map(_size, content.tensors.values())):>13,}  in all")


def _parts(tensors: Tensors) -> Iterator[str]:
    counts: Counter[str] = Counter()
    for name, tensor in tensors.items():
        part = next((part for part in PARTS if name.startswith(f"{part}.")), "other")
        counts[part] += _size(tensor)
    for part in PARTS:
        if counts[part]:
            named = "decoder, the rest" if part == "decoder" and counts["decoder.condition_encoder"] else part
            yield _line("parameters" if part == PARTS[0] else "", f"{counts[part]:>13,}  {named}")
    yield _line("", f"{counts.total():>13,}  in all")


def _size(tensor: Tensor) -> int:
    return math.prod(tensor.shape)


def _numbers(tensors: Tensors, values: bool) -> Iterator[str]:
    kinds = Counter(str(tensor.dtype) for tensor in tensors.values())
    yield _line("numbers", ", ".join(f"{kind} ({count} tensors)" if len(kinds) > 1 else kind for kind, count in kinds.items()))
    if not values:
        return
    bad, largest, where = [], 0.0, ""
    for name, tensor in tensors.items():
        array = np.asarray(tensor)
        if not jnp.issubdtype(array.dtype, jnp.floating) or not array.size:
            continue
        peak = float(np.abs(array).max())
        if not np.isfinite(peak):
            bad.append(name)
        elif peak > largest:
            largest, where = peak, name
    yield _line("largest", f"{largest:.6g} in {where}" if where else "none")
    yield _line("finite", f"NO: {len(bad)} tensors hold NaN or infinity: {', '.join(bad[:8])}" if bad else "yes, all")


def _line(what: str, value: str) -> str:
    return f"{what:<13} {value}"


def _listed(widths: tuple[int, ...]) -> str:
    return ", ".join(map(str, widths))


def _bytes(path: Path, tensors: Tensors) -> str:
    """Size of the file and, if it is an index, of the files that it names."""
    parts = {path, *(tensor.path for tensor in tensors.values() if isinstance(tensor, StoredTensor))}
    return f"{sum(part.stat().st_size for part in parts):,} bytes"

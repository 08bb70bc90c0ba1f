"""Names in files of the reference implementation and of latent diffusion <-> those of PyTorch diffusers.

`OFFICIAL` names come from CompVis' latent-diffusion and from the authors'
decoder on top of it: levels of the decoder are counted from full resolution,
attention is made of 1x1 convolutions, the condition encoder is called `encoder`.
"""

import re
from collections.abc import Iterator

import numpy as np

from asym_jax.errors import InputError
from asym_jax.weights.convert import Tensor, Tensors

NUMBER = re.compile(r"\{(n|level)\}")

# {n} is a number that stays, {level} one of the decoder's levels, which diffusers counts from the lowest resolution.
MODULES = (
    ("encoder.down.{n}.block.{n}.", "encoder.down_blocks.{n}.resnets.{n}."),
    ("encoder.down.{n}.attn.{n}.", "encoder.down_blocks.{n}.attentions.{n}."),
    ("encoder.down.{n}.downsample.", "encoder.down_blocks.{n}.downsamplers.0."),
    ("decoder.up.{level}.block.{n}.", "decoder.up_blocks.{level}.resnets.{n}."),
    ("decoder.up.{level}.attn.{n}.", "decoder.up_blocks.{level}.attentions.{n}."),
    ("decoder.up.{level}.upsample.", "decoder.up_blocks.{level}.upsamplers.0."),
    ("encoder.mid.block_1.", "encoder.mid_block.resnets.0."),
    ("encoder.mid.attn_1.", "encoder.mid_block.attentions.0."),
    ("encoder.mid.block_2.", "encoder.mid_block.resnets.1."),
    ("decoder.mid.block_1.", "decoder.mid_block.resnets.0."),
    ("decoder.mid.attn_1.", "decoder.mid_block.attentions.0."),
    ("decoder.mid.block_2.", "decoder.mid_block.resnets.1."),
    ("encoder.norm_out.", "encoder.conv_norm_out."),
    ("decoder.norm_out.", "decoder.conv_norm_out."),
    ("encoder.conv_in.", "encoder.conv_in."),
    ("encoder.conv_out.", "encoder.conv_out."),
    ("decoder.conv_in.", "decoder.conv_in."),
    ("decoder.conv_out.", "decoder.conv_out."),
    ("decoder.encoder.layers.{n}.", "decoder.condition_encoder.layers.{n}."),
    ("decoder.condition_blends.{n}.", "decoder.condition_blends.{n}."),  # ours: the paper's other form of blending
    ("quant_conv.", "quant_conv."),
    ("post_quant_conv.", "post_quant_conv."),
    ("quantize.", "quantize."),
)
"""(official, diffusers): beginnings of names."""

ATTENTION = (("norm.", "group_norm."), ("q.", "to_q."), ("k.", "to_k."), ("v.", "to_v."), ("proj_out.", "to_out.0."))
RESNET = (("nin_shortcut.", "conv_shortcut."),)
"""(official, diffusers): what follows the beginning; other layers have the same name on both sides."""

PROJECTION = re.compile(r"\.attentions\.\d+\.(to_q|to_k|to_v|to_out\.0)\.weight")
"""Linear layers of diffusers that are 1x1 convolutions here."""


def from_official(tensors: Tensors) -> dict[str, Tensor]:
    """The same tensors as PyTorch diffusers names and shapes them.

    Raises:
        InputError: a name is in no table.
    """
    levels = _levels(tensors, "decoder.up.")
    turned: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        new = _translate(name, 0, 1, levels)
        if PROJECTION.search(new) and len(tensor.shape) == 4 and tensor.shape[2:] == (1, 1):
            tensor = tensor.squeeze((2, 3))
        if new in turned:
            raise InputError(f"{name} is there under another name as well")
        turned[new] = tensor
    return turned


def to_official(tensors: Tensors) -> dict[str, Tensor]:
    """The inverse of `from_official`, for arrays in memory."""
    levels = _levels(tensors, "decoder.up_blocks.")
    return {
        _translate(name, 1, 0, levels): np.asarray(tensor)[:, :, None, None] if PROJECTION.search(name) else tensor
        for name, tensor in tensors.items()
    }


def _levels(tensors: Tensors, prefix: str) -> int:
    """How many levels the decoder has."""
    numbers = [name.removeprefix(prefix).partition(".")[0] for name in tensors if name.startswith(prefix)]
    return 1 + max((int(number) for number in numbers if number.isdecimal()), default=0)


def _translate(name: str, old: int, new: int, levels: int) -> str:
    """`name` in column `new` of the tables, from column `old`."""
    for module in MODULES:
        found = _pattern(module[old]).match(name)
        if found:
            return _numbered(module[new], map(int, found.groups()), levels) + _translate_layer(
                name[found.end() :], module[1], old, new
            )
    raise InputError(f"{name} is no parameter of an autoencoder")


def _numbered(begin: str, numbers: Iterator[int], levels: int) -> str:
    """`begin` with its places for numbers filled; levels are counted from the other end."""
    return NUMBER.sub(lambda place: str(levels - 1 - next(numbers) if place[1] == "level" else next(numbers)), begin)


def _translate_layer(layer: str, module: str, old: int, new: int) -> str:
    table = ATTENTION if ".attentions." in module else RESNET if ".resnets." in module else ()
    for names in table:
        if layer.startswith(names[old]):
            return names[new] + layer.removeprefix(names[old])
    return layer


def _pattern(begin: str) -> re.Pattern[str]:
    return re.compile(NUMBER.sub(r"([0-9]+)", begin.replace(".", r"\.")))

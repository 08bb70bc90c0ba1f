"""Our parameter names <-> those of PyTorch diffusers.

Ours, and theirs:

    decoder/up_blocks_0/resnets_1/conv1/kernel    decoder.up_blocks.0.resnets.1.conv1.weight
    encoder/mid_block/attentions_0/query/kernel   encoder.mid_block.attentions.0.to_q.weight
    encoder/conv_norm_out/scale                   encoder.conv_norm_out.weight
    decoder/condition_encoder/layers_0/bias       decoder.condition_encoder.layers.0.bias
    quantize/embedding/embedding                  quantize.embedding.weight
"""

from asym_jax.arrays import Params
from asym_jax.errors import InputError
from asym_jax.weights.convert import Keys, Tensor, Tensors, extract, fill, to_torch_axes

LISTS = frozenset(("down_blocks", "up_blocks", "resnets", "attentions", "downsamplers", "upsamplers", "layers", "condition_blends"))
"""Modules that are lists: `resnets_0` here is `resnets.0` there."""

ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Our names, which are also those of older files of PyTorch diffusers, and today's."""

LEAVES = {"kernel": "weight", "scale": "weight", "embedding": "weight", "bias": "bias"}


def torch_name(keys: Keys) -> str:
    """What PyTorch diffusers calls the parameter at `keys` of our tree."""
    *modules, leaf = keys
    return ".".join([*map(_torch_module, modules), LEAVES[leaf]])


def _torch_module(name: str) -> str:
    stem, _, number = name.rpartition("_")
    if stem in LISTS and number.isdecimal():
        return f"{stem}.{number}"
    return ATTENTION.get(name, name)


def todays_name(name: str) -> str:
    """The name in PyTorch diffusers of today for one of today or of 2022."""
    for old, new in ATTENTION.items():
        name = name.replace(f".{old}.", f".{new}.")
    return name


def from_flax(tensors: Tensors) -> dict[str, Tensor]:
    """Arrays named as in a Flax file (`decoder/conv_in/kernel`, our layout), as PyTorch diffusers names and lays them out."""
    turned: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        keys = tuple(name.split("/"))
        if keys[-1] not in LEAVES:
            raise InputError(f"{name} is no parameter of an autoencoder: they end in {', '.join(LEAVES)}")
        if torch_name(keys) in turned:
            raise InputError(f"{name} is there under another name as well")
        turned[torch_name(keys)] = tensor.transpose(to_torch_axes(keys, len(tensor.shape)))
    return turned


def to_torch(params: Params) -> dict[str, Tensor]:
    """An autoencoder's parameters as a PyTorch state dict: convolutions OIHW, linear layers (out, in)."""
    return extract(params, torch_name)


def from_torch(tensors: Tensors, expected: Params, *, source: str = "the given set of tensors") -> Params:
    """An autoencoder's parameters from a PyTorch state dict with today's names (see `naming.canonical`).

    Args:
        expected: the tree of shapes and types to be filled, from `jax.eval_shape`.
        source: what error messages call the origin of `tensors`.

    Raises:
        InputError: something is missing, left over or of another shape; the
            message lists the first differences.
    """
    return fill(expected, tensors, torch_name, source=source)

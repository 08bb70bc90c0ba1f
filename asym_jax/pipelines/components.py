"""The parts of a pipeline from their folders, PyTorch's or Flax's, without PyTorch."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import jax
from diffusers import FlaxUNet2DConditionModel
from jax.typing import DTypeLike
from transformers import CLIPConfig, CLIPTextConfig, FlaxCLIPTextModel

from asym_jax.arrays import Params
from asym_jax.errors import InputError
from asym_jax.pipelines.safety import SafetyChecker, safety_checker
from asym_jax.weights.convert import Keys, Tensor, fill, to_torch_axes
from asym_jax.weights.files.formats import read_tensors
from asym_jax.weights.files.json_file import read_json
from asym_jax.weights.sources.snapshot import component_weights

LISTS = frozenset(
    ("down_blocks", "up_blocks", "resnets", "attentions", "downsamplers", "upsamplers")
    + ("transformer_blocks", "net", "to_out", "blocks", "layers")
)
"""Modules that are lists: `resnets_0` in Flax is `resnets.0` in PyTorch."""

LEAVES = {"kernel": "weight", "scale": "weight", "embedding": "weight"}

BUFFERS = ("position_ids",)
"""Ends of the names of tensors in PyTorch's files that are no parameters."""

LARGEST_CONFIG = 2**20
"""Bytes."""

UNET_ONLY: Mapping[str, Any] = {
    "act_fn": "silu",
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "center_input_sample": False,
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "dual_cross_attention": False,
    "resnet_time_scale_shift": "default",
    "class_embed_type": None,
    "encoder_hid_dim": None,
    "time_cond_proj_dim": None,
    "num_attention_heads": None,
}
"""What diffusers' Flax UNet is built for; in PyTorch these are settings."""


def torch_name(keys: Keys) -> str:
    """What PyTorch's diffusers and transformers call the parameter at `keys` of their Flax models."""
    *modules, leaf = keys
    return ".".join([*map(_torch_module, modules), LEAVES.get(leaf, leaf)])


def _torch_module(name: str) -> str:
    found = re.fullmatch(r"(.+)_(\d+)", name)
    return f"{found[1]}.{found[2]}" if found and found[1] in LISTS else name


def read_params(folder: Path, expected: Params) -> Params:
    """The parameters in a component's folder: safetensors, .bin or msgpack, converted to `expected`'s types.

    Raises:
        InputError: there is no file with weights, or it does not hold exactly what is expected.
    """
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    chosen = component_weights(names)
    if chosen is None:
        raise InputError(f"{folder} must hold one file with weights, and holds {', '.join(sorted(names)[:8]) or 'nothing'}")
    path = folder / chosen
    tensors = read_tensors(path).tensors
    if path.suffix == ".msgpack":
        return fill(expected, _as_torch(tensors), ".".join, source=str(path))
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith(BUFFERS)}
    return fill(expected, kept, torch_name, source=str(path))


def _as_torch(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Flax's tensors with the axes that `fill` turns around."""
    turned = {}
    for name, tensor in tensors.items():
        keys = tuple(name.split("/"))
        turned[".".join(keys)] = tensor.transpose(to_torch_axes(keys, len(tensor.shape)))
    return turned


def typed(shapes: Params, dtype: DTypeLike) -> Params:
    """Shapes with another type, as `read_params` expects them."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), dict(shapes))


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """The JSON object in a component's folder. Raises InputError if there is none."""
    config = read_json(folder / name, largest=LARGEST_CONFIG)
    if not isinstance(config, dict):
        raise InputError(f"{folder / name} is no JSON object")
    return config


def read_unet(folder: Path, *, dtype: DTypeLike, param_dtype: DTypeLike) -> tuple[FlaxUNet2DConditionModel, Params]:
    """diffusers' UNet. Raises InputError if its config asks for what Flax's does not have, or the weights do not fit."""
    config = read_config(folder)
    for name, value in UNET_ONLY.items():
        if config.get(name, value) != value:
            raise InputError(f"{folder / 'config.json'} says {name}={config[name]!r}; diffusers' Flax UNet only knows {value!r}")
    known = {field.name for field in dataclasses.fields(FlaxUNet2DConditionModel)} - {"parent", "name", "dtype"}
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in config.items() if name in known}
    unet = FlaxUNet2DConditionModel(**settings, dtype=dtype)
    shapes = jax.eval_shape(unet.init_weights, jax.random.key(0))
    return unet, read_params(folder, typed(shapes, param_dtype))


def read_text_encoder(folder: Path, *, dtype: DTypeLike, param_dtype: DTypeLike) -> tuple[FlaxCLIPTextModel, Params]:
    """The text tower of CLIP. Raises InputError if the weights do not fit its config."""
    model = FlaxCLIPTextModel(CLIPTextConfig.from_dict(read_config(folder)), dtype=dtype, _do_init=False)
    return model, read_params(folder, typed(model.params_shape_tree, param_dtype))


def read_safety_checker(folder: Path, *, param_dtype: DTypeLike) -> tuple[SafetyChecker, Params]:
    """What looks at the finished pictures. Raises InputError if the weights do not fit its config."""
    model = safety_checker(CLIPConfig.from_dict(read_config(folder)))
    return model, read_params(folder, typed(model.params_shape_tree, param_dtype))


def read_scheduler(folder: Path) -> tuple[Any, Any]:
    """diffusers' Flax scheduler and its state; one that Flax lacks becomes DDIM with the same betas."""
    config = read_config(folder, "scheduler_config.json")
    name = str(config.get("_class_name", "")).removeprefix("Flax")
    kind = getattr(diffusers, f"Flax{name}", diffusers.FlaxDDIMScheduler)
    known = kind._get_init_keys(kind)
    settings = {name: value for name, value in config.items() if name in known and name not in ("self", "dtype")}
    scheduler = kind(**settings)
    scheduler.register_to_config(**{key: value for key, value in config.items() if not key.startswith("_")})
    return scheduler, scheduler.create_state()

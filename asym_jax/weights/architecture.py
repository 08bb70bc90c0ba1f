"""config.json of PyTorch diffusers <-> our model objects."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError, field_validator, model_validator

from asym_jax.arrays import Params
from asym_jax.errors import InputError
from asym_jax.models.autoencoder import AsymmetricAutoencoderKL, AutoencoderKL

Autoencoder = AutoencoderKL | AsymmetricAutoencoderKL
Widths = tuple[PositiveInt, ...]
DownTypes = tuple[Literal["DownEncoderBlock2D"], ...]
UpTypes = tuple[Literal["UpDecoderBlock2D"], ...]

WRITTEN_FOR = "0.39.0"
"""Version of diffusers whose keys are written."""


class _SharedKeys(BaseModel):
    """The keys that both classes have, with diffusers' own defaults.

    What our networks fix is a literal: another value is refused. Keys that are
    not listed are ignored, as diffusers does; the tensors are compared anyway.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    in_channels: Literal[3] = 3
    out_channels: Literal[3] = 3
    act_fn: Literal["silu"] = "silu"
    down_block_types: DownTypes = ("DownEncoderBlock2D",)
    up_block_types: UpTypes = ("UpDecoderBlock2D",)
    latent_channels: PositiveInt = 4
    norm_num_groups: PositiveInt = 32
    sample_size: PositiveInt = 32
    scaling_factor: float = 0.18215

    @field_validator("sample_size", mode="before")
    @classmethod
    def _height_stands_for_both(cls, value: Any) -> Any:
        return value[0] if isinstance(value, list) and value else value

    def _check(self, down: Widths, up: Widths) -> None:
        counts = {len(down), len(up), len(self.down_block_types), len(self.up_block_types)}
        if len(counts) > 1:
            raise ValueError("encoder, decoder and their block types must have the same number of levels")
        bad = [width for width in (*down, *up) if width % self.norm_num_groups]
        if bad:
            raise ValueError(f"widths {bad} are no multiples of norm_num_groups={self.norm_num_groups}")


class _SymmetricKeys(_SharedKeys):
    block_out_channels: Widths = (64,)
    layers_per_block: PositiveInt = 1
    use_quant_conv: Literal[True] = True
    use_post_quant_conv: Literal[True] = True
    mid_block_add_attention: Literal[True] = True
    shift_factor: None = None
    latents_mean: None = None
    latents_std: None = None

    @model_validator(mode="after")
    def _is_possible(self) -> "_SymmetricKeys":
        self._check(self.block_out_channels, self.block_out_channels)
        return self


class _AsymmetricKeys(_SharedKeys):
    down_block_out_channels: Widths = (64,)
    layers_per_down_block: PositiveInt = 1
    up_block_out_channels: Widths = (64,)
    layers_per_up_block: PositiveInt = 1
    blend: Literal["add", "concatenate"] = "add"  # ours; written only where it is not "add"

    @model_validator(mode="after")
    def _is_possible(self) -> "_AsymmetricKeys":
        self._check(self.down_block_out_channels, self.up_block_out_channels)
        return self


CLASSES = {"AutoencoderKL": (_SymmetricKeys, AutoencoderKL), "AsymmetricAutoencoderKL": (_AsymmetricKeys, AsymmetricAutoencoderKL)}
"""By `_class_name`: the keys of its config.json, and our class."""


def read_config(path: Path, *, dtype: DTypeLike) -> Autoencoder:
    """The model that a config.json describes, computing in `dtype`.

    Raises:
        InputError: the file is no JSON object, names another class, or describes
            an autoencoder that cannot be built here.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable as JSON: {error}") from error
    name = config.get("_class_name") if isinstance(config, dict) else None
    if name not in CLASSES:
        raise InputError(f"{path} has _class_name {name!r}, which must be one of {', '.join(CLASSES)}")
    keys_class, model_class = CLASSES[name]
    try:
        keys = keys_class.model_validate(config)
    except ValidationError as error:
        raise InputError(f"{path} describes an autoencoder that cannot be built here ({_reasons(error)})") from error
    return model_class(**{name: getattr(keys, name) for name in _shared_names(keys_class, model_class)}, dtype=dtype)


def config_of(model: Autoencoder) -> dict[str, Any]:
    """What config.json says about `model`: keys that PyTorch diffusers knows, and `blend` if it is not "add"."""
    keys_class, model_class = CLASSES[type(model).__name__]
    names = _shared_names(keys_class, model_class)
    levels = len(_down_widths(model))
    values = {name: getattr(model, name) for name in names}
    if values.get("blend") == "add":
        del values["blend"]  # PyTorch does not know the key
    types = {"down_block_types": ("DownEncoderBlock2D",) * levels, "up_block_types": ("UpDecoderBlock2D",) * levels}
    keys = keys_class(in_channels=3, out_channels=3, act_fn="silu", **types, **values)
    written = keys.model_dump(mode="json", exclude_unset=True)
    return {"_class_name": type(model).__name__, "_diffusers_version": WRITTEN_FOR, **dict(sorted(written.items()))}


def abstract_params(model: Autoencoder) -> Params:
    """Shapes and types of the parameters of `model`; nothing is computed."""
    side = 2 ** (len(_down_widths(model)) - 1)
    images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)["params"]


def _reasons(error: ValidationError) -> str:
    """What is wrong with which key; a rule over several keys has no `loc`."""
    return "; ".join(
        f"{'.'.join(map(str, e['loc']))} is {e['input']!r}: {e['msg']}" if e["loc"] else e["msg"] for e in error.errors()
    )


def _down_widths(model: Autoencoder) -> tuple[int, ...]:
    return model.block_out_channels if isinstance(model, AutoencoderKL) else model.down_block_out_channels


def _shared_names(keys_class: type[_SharedKeys], model_class: type[Autoencoder]) -> list[str]:
    """Settings that config.json and our class call by the same name."""
    return [field.name for field in dataclasses.fields(model_class) if field.name in keys_class.model_fields]

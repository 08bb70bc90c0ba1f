"""config.json of PyTorch diffusers <-> our model objects."""

import dataclasses
import functools
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError, field_validator, model_validator

from asym_jax.arrays import Params
from asym_jax.errors import InputError
from asym_jax.models.autoencoder import AsymmetricAutoencoderKL, AutoencoderKL, SymmetricAutoencoder
from asym_jax.models.blocks import at_each_level
from asym_jax.models.vq import AsymmetricVQModel, VQModel
from asym_jax.weights.files.json_file import read_json

Autoencoder = AutoencoderKL | AsymmetricAutoencoderKL | VQModel | AsymmetricVQModel

# Bounds far beyond anything published keep a forged config.json from building networks without end.
Count = Annotated[int, Field(gt=0, le=2**24)]
Depth = Annotated[int, Field(gt=0, le=16)]
Widths = Annotated[tuple[Annotated[int, Field(gt=0, le=2**14)], ...], Field(min_length=1, max_length=10), FailFast()]
LARGEST_CONFIG = 2**20
"""Bytes."""
LISTED = 6
"""Keys in a message."""

DOWN_TYPES = ("DownEncoderBlock2D", "AttnDownEncoderBlock2D")
UP_TYPES = ("UpDecoderBlock2D", "AttnUpDecoderBlock2D")
"""What diffusers calls a level without self-attention, and one with it."""

WRITTEN_FOR = "0.39.0"
"""Version of diffusers whose keys are written."""


class _SharedKeys(BaseModel):
    """The keys that all classes have, with diffusers' own defaults.

    What our networks fix is a literal: another value is refused. Keys that are
    not listed are ignored, as diffusers does; the tensors are compared anyway.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    in_channels: Literal[3] = 3
    out_channels: Literal[3] = 3
    act_fn: Literal["silu"] = "silu"
    down_block_types: Annotated[tuple[Literal[DOWN_TYPES], ...], FailFast()] = ("DownEncoderBlock2D",)
    up_block_types: Annotated[tuple[Literal[UP_TYPES], ...], FailFast()] = ("UpDecoderBlock2D",)
    mid_block_add_attention: bool = True  # PyTorch's AsymmetricAutoencoderKL does not know it
    latent_channels: Annotated[int, Field(gt=0, le=2**14)] = 4
    norm_num_groups: Count = 32
    sample_size: Count = 32
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

    def attention(self) -> dict[str, tuple[bool, ...]]:
        """Which levels have self-attention, as our classes take it: full resolution first, empty if none has."""
        down = tuple(kind == DOWN_TYPES[1] for kind in self.down_block_types)
        up = tuple(kind == UP_TYPES[1] for kind in reversed(self.up_block_types))
        return {"down_attention": down if any(down) else (), "up_attention": up if any(up) else ()}


class _SymmetricKeys(_SharedKeys):
    block_out_channels: Widths = (64,)
    layers_per_block: Depth = 1

    @model_validator(mode="after")
    def _is_possible(self) -> "_SymmetricKeys":
        self._check(self.block_out_channels, self.block_out_channels)
        return self


class _AsymmetricKeys(_SharedKeys):
    down_block_out_channels: Widths = (64,)
    layers_per_down_block: Depth = 1
    up_block_out_channels: Widths = (64,)
    layers_per_up_block: Depth = 1
    blend: Literal["add", "concatenate"] = "add"  # ours; written only where it is not "add"

    @model_validator(mode="after")
    def _is_possible(self) -> "_AsymmetricKeys":
        self._check(self.down_block_out_channels, self.up_block_out_channels)
        return self


class _GaussianKeys(_SymmetricKeys):
    use_quant_conv: Literal[True] = True
    use_post_quant_conv: Literal[True] = True
    shift_factor: None = None
    latents_mean: None = None
    latents_std: None = None


class _CodebookKeys(BaseModel):
    latent_channels: Annotated[int, Field(gt=0, le=2**14)] = 3
    num_vq_embeddings: Count = 256
    vq_embed_dim: Count | None = None
    norm_type: Literal["group"] = "group"
    lookup_from_codebook: bool = False


class _VQKeys(_CodebookKeys, _SymmetricKeys):
    pass


class _AsymmetricVQKeys(_CodebookKeys, _AsymmetricKeys):
    pass


CLASSES = {
    "AutoencoderKL": (_GaussianKeys, AutoencoderKL),
    "AsymmetricAutoencoderKL": (_AsymmetricKeys, AsymmetricAutoencoderKL),
    "VQModel": (_VQKeys, VQModel),
    "AsymmetricVQModel": (_AsymmetricVQKeys, AsymmetricVQModel),  # ours: PyTorch has nothing like it
    "FlaxAutoencoderKL": (_GaussianKeys, AutoencoderKL),
    "FlaxAsymmetricAutoencoderKL": (_AsymmetricKeys, AsymmetricAutoencoderKL),
}
"""By `_class_name`: the keys of its config.json, and our class. The names with Flax are read, never written by `config_of`."""

WRITTEN_IF_OTHER = {"blend": "add", "mid_block_add_attention": True, "lookup_from_codebook": False, "vq_embed_dim": None}
"""Settings left out of config.json where they have this value, because not every class of diffusers knows the key."""


def read_config(path: Path, *, dtype: DTypeLike) -> Autoencoder:
    """The model that a config.json describes, computing in `dtype`.

    Raises:
        InputError: the file is no JSON object, or as for `model_of`.
    """
    config = read_json(path, largest=LARGEST_CONFIG)
    return model_of(config, source=str(path), dtype=dtype)


def model_of(config: Any, *, source: str, dtype: DTypeLike) -> Autoencoder:
    """The model that the content of a config.json describes, computing in `dtype`.

    Raises:
        InputError: `config`, which came from `source`, names another class or
            describes an autoencoder that cannot be built here.
    """
    name = config.get("_class_name") if isinstance(config, dict) else None
    if not isinstance(name, str) or name not in CLASSES:
        raise InputError(f"{source} has _class_name {repr(name)[:80]}, which must be one of {', '.join(CLASSES)}")
    keys_class, model_class = CLASSES[name]
    try:
        keys = keys_class.model_validate(config)
    except ValidationError as error:
        raise InputError(f"{source} describes an autoencoder that cannot be built here ({_reasons(error)})") from error
    settings = {name: getattr(keys, name) for name in _shared_names(keys_class, model_class)}
    return model_class(**settings, **keys.attention(), dtype=dtype)


def config_of(model: Autoencoder) -> dict[str, Any]:
    """What config.json says about `model`: keys that PyTorch diffusers knows, and those of `WRITTEN_IF_OTHER` that differ."""
    keys_class, model_class = CLASSES[type(model).__name__]
    values = {name: getattr(model, name) for name in _shared_names(keys_class, model_class)}
    values = {name: value for name, value in values.items() if name not in WRITTEN_IF_OTHER or value != WRITTEN_IF_OTHER[name]}
    levels = len(_down_widths(model))
    types = {
        "down_block_types": tuple(DOWN_TYPES[attends] for attends in at_each_level(model.down_attention, levels)),
        "up_block_types": tuple(UP_TYPES[attends] for attends in at_each_level(model.up_attention, levels)[::-1]),
    }
    keys = keys_class(in_channels=3, out_channels=3, act_fn="silu", **types, **values)
    written = keys.model_dump(mode="json", exclude_unset=True)
    return {"_class_name": type(model).__name__, "_diffusers_version": WRITTEN_FOR, **dict(sorted(written.items()))}


@functools.lru_cache(maxsize=8)
def abstract_params(model: Autoencoder) -> Params:
    """Shapes and types of the parameters of `model`, not to be changed; nothing is computed."""
    side = 2 ** (len(_down_widths(model)) - 1)
    images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)["params"]


def _reasons(error: ValidationError) -> str:
    """What is wrong with which key; a rule over several keys has no `loc`."""
    reasons = [
        f"{'.'.join(map(str, e['loc']))} is {repr(e['input'])[:80]}: {e['msg']}" if e["loc"] else e["msg"]
        for e in error.errors(include_url=False)[:LISTED]
    ]
    return "; ".join(reason[:300] for reason in reasons)


def _down_widths(model: Autoencoder) -> tuple[int, ...]:
    return model.block_out_channels if isinstance(model, SymmetricAutoencoder) else model.down_block_out_channels


def _shared_names(keys_class: type[_SharedKeys], model_class: type[Autoencoder]) -> list[str]:
    """Settings that config.json and our class call by the same name."""
    return [field.name for field in dataclasses.fields(model_class) if field.name in keys_class.model_fields]

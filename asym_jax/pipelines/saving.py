"""Whole pipelines into folders, in the layout of diffusers' Flax."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from flax.serialization import msgpack_serialize

from asym_jax.arrays import Params
from asym_jax.pipelines.quiet import no_farewell
from asym_jax.pipelines.vae import FlaxConditionedAutoencoderKL
from asym_jax.weights.folders import replacing

WRITTEN_FOR = "0.39.0"
"""Version of diffusers whose layout is written."""


def save_pipeline(folder: Path, class_name: str, parts: Mapping[str, Any], params: Params) -> None:
    """Writes `parts` and their parameters, all or nothing.

    Raises:
        InputError: the folder holds something else than a pipeline, or cannot be written.
    """
    index: dict[str, Any] = {"_class_name": class_name, "_diffusers_version": WRITTEN_FOR}
    index |= {name: [type(part).__module__.partition(".")[0], type(part).__name__] for name, part in parts.items()}
    with no_farewell(), replacing(folder, owned=("model_index.json", *parts)) as new:
        (new / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        for name, part in parts.items():
            _save_part(new / name, part, params.get(name))


def _save_part(folder: Path, part: Any, params: Params | None) -> None:
    """A component in the layout of diffusers' Flax, or of transformers'."""
    if isinstance(part, FlaxConditionedAutoencoderKL):
        part.save_pretrained(folder, params)
    elif params is None or not isinstance(params, Mapping):  # tokenizers, schedulers
        part.save_pretrained(folder)
    else:
        folder.mkdir()
        config = part.config.to_dict() if hasattr(part.config, "to_dict") else json.loads(part.to_json_string())
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        name = "flax_model.msgpack" if hasattr(part.config, "to_dict") else "diffusion_flax_model.msgpack"
        (folder / name).write_bytes(msgpack_serialize(jax.device_get(dict(params))))

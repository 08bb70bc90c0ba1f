"""What a run learns from besides its config: the same pictures and the same frozen autoencoder from the first step to the last."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from asym_jax.arrays import Params
from asym_jax.data.folder import FolderSource
from asym_jax.data.mixture import Mixture
from asym_jax.data.sources import Source
from asym_jax.errors import InputError
from asym_jax.weights.kinship import IN_TRAINING

SETTINGS = {"pictures": "data.source", "autoencoder": "model.vae"}
"""What is identified, and the setting that names it."""


def identify(source: Source, held_out: Source, dtype: str, frozen: Params) -> dict[str, str]:
    """Hashes that differ where pictures or autoencoder do; the same wherever the folder of the pictures lies."""
    pictures = hashlib.sha256(f"{_identity(source)}, {_identity(held_out)}".encode(errors="backslashreplace")).hexdigest()
    return {"pictures": pictures, "autoencoder": digest(dtype, frozen, IN_TRAINING)}


def require_same(inputs: dict[str, str], path: Path) -> None:
    """Raises InputError if the run that wrote `path` had others. Older runs wrote no such file; they go on."""
    if not path.exists():
        return
    try:
        there = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}); without this file the run goes on, and nothing is compared") from error
    changed = [f"the {name} ({SETTINGS[name]})" for name in inputs if there.get(name, inputs[name]) != inputs[name]]
    if changed:
        raise InputError(
            f"{' and '.join(changed)} changed since the run in {path.parent} began. To go on with it, bring back what was there; "
            "or give another --workdir, or --fresh to delete the run and start over."
        )


def digest(dtype: str, frozen: Params, parts: Sequence[str] = ("encoder", "quant_conv")) -> str:
    """Hash of the frozen autoencoder's weights in `parts`, as far as it has them; by default of all that the cache depends on."""
    vae = frozen["vae"]
    found = hashlib.sha256(dtype.encode())
    for part in parts:
        for path, leaf in jax.tree.leaves_with_path(jax.device_get(vae.get(part, {}))):
            found.update(f"{part}{jax.tree_util.keystr(path)}{leaf.shape}".encode() + np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()


def _identity(source: Source) -> str:
    """The `repr` of a source without the place of its files in it, and without addresses in memory."""
    if isinstance(source, Mixture):
        return " + ".join(f"{weight} * {_identity(part)}" for weight, part in zip(source.weights, source.components, strict=True))
    if isinstance(source, FolderSource):
        return source.wherever()
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(source))

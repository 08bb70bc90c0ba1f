"""The folder of a whole pipeline, here or on the Hugging Face hub."""

import fnmatch
import os
from collections.abc import Sequence
from pathlib import Path

from asym_jax.errors import InputError
from asym_jax.weights.sources import hub
from asym_jax.weights.sources.file_names import SUFFIXES, WEIGHTS

PREFERRED = (*WEIGHTS, "model.safetensors", "pytorch_model.bin", "flax_model.msgpack", "model.fp16.safetensors")
"""Files with weights in a component's folder, the preferred one first: diffusers' names, then those of transformers."""

BESIDES = ("*.json", "*.txt")
"""What else a component needs: configs, and the words of a tokenizer."""


def pipeline_folder(source: str | Path, *, revision: str | None = None) -> Path:
    """A local folder, or what the hub's cache holds of OWNER/NAME[@REVISION] after fetching what is needed of it.

    Raises:
        InputError: there is no such folder, or the hub did not give it.
    """
    path = Path(os.path.expanduser(source))
    if path.is_dir():
        return path
    name = hub.parse(str(source), revision, None)
    if name is None or name.subfolder or name.file:
        raise InputError(f"there is no folder {path} (looked for it in {Path.cwd()}), and OWNER/NAME on the hub looks different")
    from huggingface_hub import HfApi, snapshot_download  # here, because only this needs it and it is slow to import

    try:
        info = HfApi().model_info(name.repository, revision=name.revision, timeout=hub.PATIENCE)
        wanted = needed([entry.rfilename for entry in info.siblings or ()])
        return Path(snapshot_download(name.repository, revision=name.revision, allow_patterns=wanted))
    except Exception as error:  # no network, no such repository or revision, no permission, ...: each has its own class
        try:
            return Path(snapshot_download(name.repository, revision=name.revision, local_files_only=True))
        except (OSError, ValueError):
            raise InputError(f"{source} is no folder, and the Hugging Face hub did not give it: {error}") from error


def needed(files: Sequence[str]) -> list[str]:
    """Of a repository's files, one with the weights of each component, and all small ones in components."""
    chosen = [file for file in files if "/" not in file and fnmatch.fnmatch(file, "*.json")]
    components = sorted({file.partition("/")[0] for file in files if file.count("/") == 1})
    for component in components:
        names = [file.partition("/")[2] for file in files if file.startswith(f"{component}/")]
        small = [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in BESIDES)]
        weights = component_weights(names)
        chosen += [f"{component}/{name}" for name in (*small, *filter(None, [weights]))]
    return chosen


def component_weights(names: Sequence[str]) -> str | None:
    """The file with the weights of a component among the files of its folder, if there is one."""
    for name in PREFERRED:
        if name in names:
            return name
    candidates = [name for name in names if name.endswith(SUFFIXES)]
    return candidates[0] if len(candidates) == 1 else None

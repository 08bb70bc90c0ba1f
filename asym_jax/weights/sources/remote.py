"""Files from storage that fsspec knows (`gs://`, `s3://`, `file://`, ...), by way of a local copy."""

import hashlib
import os
from pathlib import Path
from typing import Any

from asym_jax.errors import InputError
from asym_jax.weights.fetching.cache import weights_folder
from asym_jax.weights.files.sharded import shards
from asym_jax.weights.sources.file_names import CONFIG, INDEX, SUFFIXES, VAE, belongs, choose, lack


def fetch(url: str) -> tuple[Path | None, Path]:
    """config.json, if there is one, and the file with weights, copied to `$ASYM_JAX_WEIGHTS/remote`.

    A copy is used again for as long as the original has the same fingerprint
    (size, time or generation, whatever the storage offers).

    Raises:
        InputError: the storage cannot be reached, or there are no such files.
    """
    try:
        import fsspec  # here, because only this needs it

        files, path = fsspec.url_to_fs(url.rstrip("/"))
        files.invalidate_cache()  # of listings, which some kinds of storage keep for as long as the program runs
        if path.endswith(SUFFIXES):
            folder, _, chosen = path.rpartition("/")
            has_config = belongs(chosen, asked_for=True) and files.exists(f"{folder}/{CONFIG}")
        else:
            folder, chosen, has_config = path, *_in_folder(files, path, url.rstrip("/"))
        weights = _copy(files, folder, chosen)
        if chosen.endswith(INDEX):
            for shard in sorted(set(shards(weights).values())):
                _copy(files, folder, shard)
        return (_copy(files, folder, CONFIG) if has_config else None), weights
    except InputError:
        raise
    except Exception as error:  # each kind of storage has its own errors; a missing driver is an ImportError or ValueError
        raise InputError(f"{url} could not be read ({type(error).__name__}: {' '.join(str(error).split())[:300]})") from error


def _in_folder(files: Any, folder: str, url: str) -> tuple[str, bool]:
    """The file with weights in a folder, and whether config.json is there."""
    names: dict[str, list[str]] = {"file": [], "directory": []}
    for entry in files.ls(folder, detail=True):
        names.get(entry["type"], names["file"]).append(entry["name"].rstrip("/").rpartition("/")[2])
    chosen = choose(names["file"])
    if chosen is None:
        raise InputError(lack(url, names["file"], names["directory"], f"{url}/{VAE}"))
    return chosen, CONFIG in names["file"]


def _copy(files: Any, folder: str, name: str) -> Path:
    """A local copy of a file, in a folder that stands for where it came from."""
    remote = f"{folder}/{name}"
    origin = f"{type(files).__name__} {getattr(files, 'storage_options', '')} {folder}"
    target = weights_folder() / "remote" / _hash(origin)[:16] / name
    stamp = target.with_name(f".{name}.fingerprint")
    found = files.info(remote)
    # `ukey` alone is fsspec's own fingerprint, but of a web page it is the address only.
    fingerprint = _hash(f"{files.ukey(remote)} {sorted((key, str(value)) for key, value in found.items())}")
    if target.is_file() and stamp.is_file() and stamp.read_text() == fingerprint:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    part = target.with_name(f".{name}.{os.getpid()}.part")
    try:
        files.get_file(remote, str(part))
        if found.get("size") is not None and part.stat().st_size != found["size"]:
            raise InputError(f"{remote} has {found['size']:,} bytes, and {part.stat().st_size:,} of them arrived; try again")
        part.replace(target)
        stamp.write_text(fingerprint)
    finally:
        part.unlink(missing_ok=True)
    return target


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

"""Where an autoencoder's files are: in a folder, in one file, on the Hugging Face hub, on remote storage, or in the package."""

import os
from pathlib import Path
from typing import NamedTuple

from asym_jax.errors import InputError
from asym_jax.weights.sources import hub, remote
from asym_jax.weights.sources.file_names import CONFIG, VAE, belongs, choose, lack

ASSET = "asset"
ASSET_FOLDER = Path(__file__).parents[2] / "assets" / "demo_vae"


class Files(NamedTuple):
    """What was found; without config.json, shapes tell the architecture."""

    config: Path | None
    weights: Path


def locate(source: str | Path, *, revision: str | None = None, subfolder: str | None = None) -> Files:
    """Finds (and, from elsewhere, fetches) the weights and, if there is one, the config.json of `source`.

    Args:
        source: a folder; a file; `asset`; a URL that fsspec knows (`gs://...`);
            or OWNER/NAME[/SUBFOLDER or /FILE][@REVISION] on the Hugging Face hub.
        revision: branch, tag or commit on the hub.
        subfolder: folder within `source`.

    Raises:
        InputError: there is no such thing, it lacks a file, or it cannot be reached.
    """
    text = str(source)
    if source == ASSET:
        _refuse_revision(revision, text)
        return _in_folder(ASSET_FOLDER / (subfolder or ""))
    if "://" in text:
        _refuse_revision(revision, text)
        return Files(*remote.fetch(f"{text.rstrip('/')}/{subfolder}" if subfolder else text))
    path = Path(os.path.expanduser(source))
    try:
        if path.exists():
            _refuse_revision(revision, text)
            path = path / (subfolder or "")
            return _in_folder(path) if path.is_dir() else _one_file(path)
    except OSError as error:  # no permission, a name that is too long, ...
        raise InputError(f"{text[:200]} cannot be looked at: {error.strerror or error}") from error
    name = hub.parse(source, revision, subfolder) if isinstance(source, str) else None
    if name is None:
        raise InputError(f"there is no file or folder {path} (looked for it in {Path.cwd()})")
    return Files(*hub.fetch(name))


def _refuse_revision(revision: str | None, source: str) -> None:
    if revision:
        raise InputError(f"revision={revision!r} is for the Hugging Face hub, and {source} is not on it")


def _one_file(path: Path) -> Files:
    if not path.exists():
        raise InputError(f"there is no file or folder {path}")
    beside = path.with_name(CONFIG)
    return Files(beside if belongs(path.name, asked_for=True) and beside.is_file() else None, path)


def _in_folder(folder: Path) -> Files:
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    names = [path.name for path in folder.iterdir() if path.is_file()]
    chosen = choose(names)
    if chosen is None:
        subfolders = [path.name for path in folder.iterdir() if path.is_dir()]
        raise InputError(lack(str(folder), names, subfolders, str(folder / VAE)))
    return Files(folder / CONFIG if CONFIG in names else None, folder / chosen)

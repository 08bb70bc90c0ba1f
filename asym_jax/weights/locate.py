"""Where an autoencoder's two files are: in a local folder, on the Hugging Face hub, or inside the package."""

import logging
import os
import re
from pathlib import Path
from typing import NamedTuple

from asym_jax.errors import InputError
from asym_jax.weights.formats import CONFIG, READERS

ASSET = "asset"
ASSET_FOLDER = Path(__file__).parents[1] / "assets" / "demo_vae"

HUB_ID = re.compile(r"(?P<repository>[\w-][\w.-]*/[\w-][\w.-]*)(/(?P<subfolder>[\w-][\w./-]*))?")
"""OWNER/NAME[/SUBFOLDER]. Paths that begin with a slash, a dot or a tilde never match."""


class Files(NamedTuple):
    config: Path
    weights: Path  # its name is a key of READERS


def locate(source: str | Path) -> Files:
    """Finds (and, from the hub, fetches) config.json and the preferred weight file of `source`.

    Raises:
        InputError: there is no such folder, it lacks a file, or the hub cannot give them.
    """
    if source == ASSET:
        return _local(ASSET_FOLDER)
    folder = Path(os.path.expanduser(source))
    if folder.exists():
        return _local(folder)
    hub_id = HUB_ID.fullmatch(source) if isinstance(source, str) else None
    if hub_id is None:
        raise InputError(f"there is no folder {folder} (looked for it in {Path.cwd()})")
    return _from_hub(source, hub_id["repository"], hub_id["subfolder"])


def _local(folder: Path) -> Files:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the folder that holds {CONFIG} and {' or '.join(READERS)}")
    weights = [folder / name for name in READERS if (folder / name).is_file()]
    if not (folder / CONFIG).is_file() or not weights:
        hint = f"; did you mean {folder / 'vae'}?" if (folder / "vae" / CONFIG).is_file() else ""
        raise InputError(f"{folder} must hold {CONFIG} and {' or '.join(READERS)}, and does not{hint}")
    return Files(folder / CONFIG, weights[0])


def _from_hub(source: str, repository: str, subfolder: str | None) -> Files:
    reasons: list[str] = []
    config = _fetch(repository, subfolder, CONFIG, reasons)
    for name in READERS if config else ():
        weights = _fetch(repository, subfolder, name, reasons)
        if weights:
            return Files(config, weights)
    raise InputError(
        f"{source}: there is no such folder in {Path.cwd()}, and the Hugging Face hub did not give the files of the repository "
        f"{repository} ({'; '.join(reasons)}). Check the name, or give the path of a downloaded folder"
    )


def _fetch(repository: str, subfolder: str | None, name: str, reasons: list[str]) -> Path | None:
    """The file in the hub's local cache; None, and one more of `reasons`, if it cannot be had."""
    from huggingface_hub import hf_hub_download  # here, because only this needs it and it is slow to import

    log = logging.getLogger("huggingface_hub")
    level = log.level
    try:
        log.setLevel(logging.ERROR)  # without network it warns at length about every attempt
        return Path(hf_hub_download(repository, name, subfolder=subfolder))
    except Exception as error:  # no network, no such repository or file, no permission, ...: each has its own class
        first_line = str(error).strip().partition("\n")[0]
        reasons.append(f"{f'{subfolder}/' if subfolder else ''}{name}: {type(error).__name__}: {first_line}")
        return None
    finally:
        log.setLevel(level)

"""The folder of an evaluation while it grows: pictures, and a journal of those that are done."""

import errno
import fcntl
import json
import os
import re
import shutil
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from asym_jax.errors import InputError

SETTINGS, JOURNAL = "settings.json", "journal.jsonl"
PICTURES, SCORES = "pictures", "scores"
ORIGINAL, MASKED, MASK = "original", "masked", "mask"
OURS = (SCORES, JOURNAL, PICTURES, "results.json", "report.html", "report_files", *(f"table_{n}.md" for n in range(1, 7)))
"""All that an evaluation may write into its folder beside its settings, in the order in which it is removed: scores belong to
pictures, and pictures count for nothing without the journal."""

LOCK = ".lock"
"""Held by the evaluation that writes into the folder; the system lets go of it when that process ends, however it ends."""


class Workbook:
    """Generated pictures as PNG files, and what was noted of each; a killed evaluation goes on where it was.

    Only files that are whole count: pictures appear by renaming, and a picture's line in the journal follows the picture.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, fresh: bool = False) -> None:
        """Opens `folder` for an evaluation with exactly these settings.

        Raises:
            InputError: it cannot be written, holds other files, or an evaluation with other settings, or one that is running.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _require_ours(folder)
            self.close = weakref.finalize(self, os.close, _lock(folder))  # lets others write into the folder
            _begin(folder, settings, fresh=fresh)
            self.notes = _read_journal(folder / JOURNAL)
            with (folder / JOURNAL).open("a", encoding="utf-8"):
                pass
        except OSError as error:
            raise InputError(f"--out {folder} cannot be written: {error.strerror or error}") from error

    def __enter__(self) -> "Workbook":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def done(self, index: int) -> bool:
        """Whether every picture of this example is there."""
        return index in self.notes

    def path(self, column: str, name: str) -> Path:
        """Where the picture of an example lies in a column: a decoder's, or `original`, `masked` or `mask`."""
        return self.folder / PICTURES / file_name(column) / f"{name}.png"

    def save(self, column: str, name: str, picture: UInt8[np.ndarray, "H W _"] | UInt8[np.ndarray, "H W"]) -> None:
        """Writes a picture, or replaces it, whole or not at all."""
        path = self.path(column, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        # Lossless whatever the level; the highest would take longer than decoding.
        Image.fromarray(picture).save(temporary, format="PNG", compress_level=1)
        temporary.replace(path)

    def note(self, records: Mapping[int, Mapping[str, Any]]) -> None:
        """Marks examples as done."""
        with (self.folder / JOURNAL).open("a", encoding="utf-8") as journal:
            journal.write("".join(json.dumps({"index": index, **record}) + "\n" for index, record in records.items()))
        self.notes |= records

    def read(self, column: str, name: str) -> UInt8[np.ndarray, "H W _"]:
        """A picture that was written before, as files store it: (H, W, 3), or (H, W, 1) for `mask`.

        Raises:
            InputError: it is gone or broken.
        """
        path = self.path(column, name)
        try:
            with Image.open(path) as image:
                pixels = np.asarray(image)
        except OSError as error:
            raise InputError(f"{path}, a picture of this evaluation, cannot be read ({error}); start over with --fresh") from error
        return pixels if pixels.ndim == 3 else pixels[..., None]


def file_name(column: str) -> str:
    """A column's name without what folders may not be called."""
    return re.sub(r"[^\w .()+=,-]", "_", column)


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _require_ours(folder: Path) -> None:
    """Nothing is ever removed from a folder that no evaluation has begun."""
    others = sorted(entry.name for entry in folder.iterdir() if entry.name not in (LOCK, f".{SETTINGS}.tmp"))
    if others and not (folder / SETTINGS).exists():
        raise InputError(f"--out {folder} holds files of something else ({', '.join(others[:3])}); give an empty folder")


def _lock(folder: Path) -> int:
    """The descriptor of the lock file. Where the file system knows no locks, there is none."""
    held = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
            os.close(held)
            raise InputError(
                f"--out {folder} is being written by another evaluation; wait for it, or give another folder"
            ) from error
    return held


def _begin(folder: Path, settings: Mapping[str, Any], *, fresh: bool) -> None:
    path = folder / SETTINGS
    if path.exists() and not fresh:
        _compare(path, settings)
        return
    for name in OURS:
        _remove(folder / name)
    write_text(path, json.dumps(settings, indent=2) + "\n")


def _compare(path: Path, settings: Mapping[str, Any]) -> None:
    settings = json.loads(json.dumps(settings))  # tuples become lists, as in the file
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} cannot be read ({error}); start over with --fresh") from error
    changed = [
        f"{name}: {before.get(name)!r} before, {settings.get(name)!r} now"
        for name in sorted(before.keys() | settings.keys())
        if before.get(name) != settings.get(name)
    ]
    if changed:
        raise InputError(
            f"--out {path.parent} holds an evaluation with other settings ({'; '.join(changed)}); give another folder, or --fresh"
        )


def _read_journal(path: Path) -> dict[int, dict[str, Any]]:
    """Its lines by index; a last line that was cut off is cut out of the file."""
    if not path.exists():
        return {}
    lines: Sequence[bytes] = path.read_bytes().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith(b"\n")]
    if len(whole) < len(lines):
        with path.open("r+b") as opened:
            opened.truncate(sum(map(len, whole)))
    records = (json.loads(line) for line in whole)
    return {record.pop("index"): record for record in records}


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

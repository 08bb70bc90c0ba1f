"""Files and folders that are replaced as a whole."""

import contextlib
import ctypes
import os
import re
import shutil
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from asym_jax.errors import InputError

EXCHANGE = 2
"""Flag of Linux's renameat2: two names change places in one instant."""
HERE = -100
"""Linux's AT_FDCWD: relative paths begin in the current folder."""

URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.IGNORECASE)
"""Also as `Path` writes it, with one slash. A single letter is a disk."""


def on_this_machine(path: str | Path) -> Path:
    """The place to write to, its ~ replaced.

    Raises:
        InputError: it is a URL; a folder of that name would appear here, and nothing there.
    """
    url = URL.fullmatch(str(path))
    if url:
        raise InputError(
            f"{url[1]}://{url[2]} cannot be written to: weights are written to this machine's disks only. "
            "Write to a folder here and copy it, or mount the bucket as a folder"
        )
    return Path(os.path.expanduser(path))


@contextlib.contextmanager
def replacing(folder: Path, *, owned: Collection[str]) -> Iterator[Path]:
    """Yields an empty folder that takes the place of `folder` when the block ends well.

    When the block fails, `folder` is as it was. If the machine stops, whatever
    stands at `folder` is complete, old or new. (On systems other than Linux
    nothing stands there in the instant between two renames; the old content is
    then beside it as `.NAME.previous`, from where the next call brings it back.)

    Args:
        owned: names of files that may be deleted.

    Raises:
        InputError: `folder` holds anything that is not `owned`, is a URL, or cannot be written.
    """
    folder = on_this_machine(folder).resolve()
    new = folder.with_name(f".{folder.name}.new")
    previous = folder.with_name(f".{folder.name}.previous")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if previous.exists() and not folder.exists():
            previous.rename(folder)
        _refuse_strangers(folder, owned)
        for leftover in (new, previous):
            shutil.rmtree(leftover, ignore_errors=True)
        new.mkdir()
        try:
            yield new
            for path in (*new.iterdir(), new):
                _flush(path)
            _swap(new, folder, previous)
            _flush(folder.parent)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error}") from error


@contextlib.contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Yields the name of a file beside `path` that takes its place when the block ends well; else `path` is as it was.

    Raises:
        InputError: `path` is a folder or a URL, or cannot be written.
    """
    path = on_this_machine(path).resolve()
    new = path.with_name(f".{path.name}.new")
    if path.is_dir():
        raise InputError(f"{path} is a folder, and a file is to be written")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield new
            _flush(new)
            new.replace(path)
            _flush(path.parent)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}") from error


def _refuse_strangers(folder: Path, owned: Collection[str]) -> None:
    if folder.exists():
        strangers = [folder] if not folder.is_dir() else [path for path in folder.iterdir() if path.name not in owned]
        if strangers:
            raise InputError(f"{folder} is not replaced because {strangers[0]} was not written here; choose a new folder")


def _flush(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk: a rename may get there first."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _swap(new: Path, folder: Path, previous: Path) -> None:
    if not folder.exists():
        new.rename(folder)
    elif not _exchange(new, folder):  # else `new` is the old content now, which the caller removes
        folder.rename(previous)
        try:
            new.rename(folder)
        except BaseException:
            previous.rename(folder)
            raise
        shutil.rmtree(previous)


def _exchange(one: Path, other: Path) -> bool:
    """Lets two folders change names in one instant; False where the system or its disk cannot."""
    if sys.platform != "linux":
        return False
    try:
        rename = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    return rename(HERE, os.fsencode(one), HERE, os.fsencode(other), EXCHANGE) == 0

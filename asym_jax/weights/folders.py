"""Files and folders that are replaced as a whole."""

import contextlib
import ctypes
import os
import shutil
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from asym_jax.errors import InputError

EXCHANGE = 2
"""Flag of Linux's renameat2: two names change places in one instant."""
HERE = -100
"""Linux's AT_FDCWD: relative paths begin in the current folder."""


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
        InputError: `folder` holds anything that is not `owned`, or cannot be written.
    """
    folder = Path(os.path.expanduser(folder)).resolve()
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
        InputError: `path` is a folder or cannot be written.
    """
    path = Path(os.path.expanduser(path)).resolve()
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

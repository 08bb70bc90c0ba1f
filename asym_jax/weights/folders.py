"""Folders that are replaced as a whole."""

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from asym_jax.errors import InputError


@contextlib.contextmanager
def replacing(folder: Path, *, owned: Collection[str]) -> Iterator[Path]:
    """Yields an empty folder that takes the place of `folder` when the block ends well.

    When the block fails, `folder` is as it was. If the machine stops, whatever
    stands at `folder` is complete; in the instant between two renames nothing
    stands there, and the complete old content is beside it as `.NAME.previous`,
    from where the next call brings it back.

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
            _flush(new)
            _swap(new, folder, previous)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error}") from error


def _refuse_strangers(folder: Path, owned: Collection[str]) -> None:
    if folder.exists():
        strangers = [folder] if not folder.is_dir() else [path for path in folder.iterdir() if path.name not in owned]
        if strangers:
            raise InputError(f"{folder} is not replaced because {strangers[0]} was not written here; choose a new folder")


def _flush(folder: Path) -> None:
    """Waits until the files are on the disk: a rename may get there first."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _swap(new: Path, folder: Path, previous: Path) -> None:
    if not folder.exists():
        new.rename(folder)
        return
    folder.rename(previous)
    try:
        new.rename(folder)
    except BaseException:
        previous.rename(folder)
        raise
    shutil.rmtree(previous)

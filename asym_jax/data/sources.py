"""Where pictures come from: random access by index."""

import hashlib
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from asym_jax.data.pictures import Picture, UnreadablePicture, list_pictures, read_picture
from asym_jax.data.synthetic import SyntheticSource
from asym_jax.errors import InputError

log = logging.getLogger(__name__)


@runtime_checkable
class Source(Protocol):
    """Pictures by index. Picture i must always be the same, and `repr` too: it identifies the source."""

    skipped: dict[str, str]  # reason by name of every picture found unreadable so far

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Picture: ...

    def name(self, index: int) -> str: ...


class FolderSource:
    """Picture files. An unreadable one is replaced by the next readable one, the first following the last.

    Attributes:
        skipped: reason by name of every file found unreadable so far.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self.skipped: dict[str, str] = {}
        self._lock = threading.Lock()
        names = "\n".join(map(str, self.paths))
        self._digest = hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Picture:
        """Raises IndexError beyond the end, and InputError if no file of the source is readable."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        for i in range(index, index + len(self)):
            path = self.paths[i % len(self)]
            if str(path) in self.skipped:
                continue
            try:
                return read_picture(path)
            except UnreadablePicture as error:
                self._skip(str(path), error.reason)
        raise InputError(f"none of the {len(self)} pictures can be read; the first is {self.paths[0]} ({self._first_reason()})")

    def __repr__(self) -> str:
        return f"FolderSource({len(self)} files, {self._digest})"

    def name(self, index: int) -> str:
        """Path of entry `index`, also if another file stands in for it."""
        return str(self.paths[index])

    def _skip(self, name: str, reason: str) -> None:
        with self._lock:
            if name in self.skipped:  # another thread was faster
                return
            self.skipped[name] = reason
        log.warning("unreadable picture %s replaced by the next one: %s", name, reason)

    def _first_reason(self) -> str:
        return self.skipped[str(self.paths[0])]


class Part:
    """Entries start..stop-1 of another source."""

    def __init__(self, source: Source, start: int, stop: int) -> None:
        self.source, self.start, self.stop = source, start, stop
        self.skipped = source.skipped

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> Picture:
        return self.source[self._inner(index)]

    def __repr__(self) -> str:
        return f"Part({self.source!r}, {self.start}, {self.stop})"

    def name(self, index: int) -> str:
        return self.source.name(self._inner(index))

    def _inner(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.start + index


def open_source(spec: str) -> Source:
    """The source that a configuration names: `synthetic`, or `folder:DIR` (see `list_pictures`).

    Raises:
        InputError: `spec` has another form, or there are no pictures.
    """
    kind, _, place = spec.partition(":")
    if spec == "synthetic":
        return SyntheticSource()
    if kind == "folder" and place:
        try:
            folder = Path(place).expanduser().absolute()
        except RuntimeError as error:  # ~somebody without a home
            raise InputError(f"data source {spec!r}: {error}") from error
        return FolderSource(list_pictures(folder))
    raise InputError(f"unknown data source {spec!r}: expected synthetic, folder:DIR, or folder:LIST.txt")


def split(source: Source, held_out: int) -> tuple[Source, Source]:
    """All but the last `held_out` entries, to train on, and those last ones.

    The parts of a `FolderSource` are `FolderSource`s: unreadable files are replaced from their own part and
    reported there, so that no held-out picture is ever trained on.

    Raises:
        InputError: nothing would be left to train on.
    """
    border = len(source) - held_out
    if border <= 0:
        raise InputError(f"holding out {held_out} of {len(source)} pictures leaves none to train on: lower data.held_out")
    if isinstance(source, FolderSource):
        return FolderSource(source.paths[:border]), FolderSource(source.paths[border:])
    return Part(source, 0, border), Part(source, border, len(source))

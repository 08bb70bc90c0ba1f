"""A file that is being received: `NAME.part`, and beside it `NAME.part.json` with what is needed to go on."""

import contextlib
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from asym_jax.weights.fetching.cache import part_of
from asym_jax.weights.fetching.server import Lasting

BLOCK = 1 << 20


class Begun(NamedTuple):
    """Which file the bytes received so far are the beginning of."""

    url: str
    etag: str | None
    sha256: str | None  # as the server announced it
    total: int | None


class Part:
    """The bytes received so far. Nobody else writes them meanwhile.

    Attributes:
        size: how many there are.
        digest: their SHA-256.
        begun: what they belong to; None before the first answer.
    """

    def __init__(self, target: Path, file: io.FileIO) -> None:
        self._target, self._file = target, file
        self._path, self._memory = part_of(target), target.with_name(f"{target.name}.part.json")
        self.size = 0
        self.digest = hashlib.sha256()
        self.begun: Begun | None = None
        self.closed = False  # finished or removed

    def take_over(self, url: str, sha256: str | None) -> None:
        """Goes on with what an earlier program left, if a wrong continuation would be noticed; else drops it."""
        begun = self._remembered()
        if begun is None or begun.url != url or not (begun.etag or begun.sha256 or sha256):
            self.restart()
            return
        self._file.seek(0)
        while block := self._file.read(BLOCK):
            self.digest.update(block)
            self.size += len(block)
        self.begun = begun

    def restart(self) -> None:
        """Drops the bytes."""
        with on_disk(self._path):
            self._file.truncate(0)
        self.size, self.digest, self.begun = 0, hashlib.sha256(), None

    def begin(self, begun: Begun) -> None:
        """Remembers what the next bytes belong to."""
        if begun != self.begun:
            new = self._memory.with_name(f"{self._memory.name}.new")
            with on_disk(self._memory):
                new.write_text(json.dumps(begun._asdict()), encoding="utf-8")
                new.replace(self._memory)
        self.begun = begun

    def append(self, block: bytes) -> None:
        """Writes the next bytes through to the system: what is counted in `size` survives the end of the program."""
        with on_disk(self._path):
            rest = memoryview(block)
            while rest:
                rest = rest[_write(self._file, rest) :]
        self.digest.update(block)
        self.size += len(block)

    def finish(self) -> None:
        """Puts the file in its place, in one step and only when its bytes are on the disk."""
        with on_disk(self._target):
            os.fsync(self._file.fileno())
            self._path.replace(self._target)
            self._forget()

    def remove(self) -> None:
        """Deletes the bytes."""
        with on_disk(self._path):
            self._path.unlink()
            self._forget()

    def _forget(self) -> None:
        self.closed = True
        self._memory.unlink(missing_ok=True)

    def _remembered(self) -> Begun | None:
        try:
            return Begun(**json.loads(self._memory.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


@contextlib.contextmanager
def held_part(target: Path) -> Iterator[Part]:
    """The part of `target`, held against other programs; if nothing was received at the end, nothing is left.

    Raises:
        Lasting: another program holds it, or it cannot be written.
    """
    with on_disk(part_of(target)):
        file = _locked(part_of(target))
    with file:
        part = Part(target, file)
        try:
            yield part
        finally:
            if not part.size and not part.closed:
                part.remove()


def _locked(path: Path) -> io.FileIO:
    while True:
        file = path.open("a+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise Lasting("another program is fetching it at this moment; let that one finish") from None
        except OSError:
            return file  # a file system without locks
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return file
        file.close()  # while this one waited for the system, another program finished the file and took the name away


def _write(file: io.FileIO, block: memoryview) -> int:
    return file.write(block)


@contextlib.contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """An error of the file system inside becomes Lasting."""
    try:
        yield
    except OSError as error:
        raise Lasting(f"{path} cannot be written ({error.strerror or error})") from error

"""Numbered pictures of which some may turn out unreadable: what every source of real pictures has in common."""

import copy
import hashlib
import logging
import threading
from collections.abc import Iterable

from asym_jax.data.pictures import Picture, UnreadablePicture
from asym_jax.errors import InputError

log = logging.getLogger(__name__)

MOST_WARNINGS = 20
"""Unreadable pictures of one source that are named on stderr; the rest are only counted."""


class EntrySource:
    """A `Source` made of entries that `read` and `entry_name` tell about; subclasses give both.

    An unreadable entry is replaced by the next readable one, the first following the last. Which one that is
    depends on the entries alone, not on who reads them, or when.

    Attributes:
        skipped: reason by name of every entry found unreadable so far.
    """

    def __init__(self, count: int) -> None:
        self.skipped: dict[str, str] = {}
        self._start, self._stop = 0, count
        self._lock = threading.Lock()

    def read(self, entry: int) -> Picture:
        """Entry number `entry` of all. Raises UnreadablePicture."""
        raise NotImplementedError

    def entry_name(self, entry: int) -> str:
        """What messages call this entry; unlike any other's."""
        raise NotImplementedError

    def identity(self) -> str:
        """What `repr` says of all entries together; a stable text that another set of entries does not have."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, index: int) -> Picture:
        """Raises IndexError beyond the end, and InputError if no entry is readable."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        for i in range(index, index + len(self)):
            name = self.name(i % len(self))
            if name in self.skipped:
                continue
            try:
                return self.read(self._start + i % len(self))
            except UnreadablePicture as error:
                self.skip(name, error.reason)
        first = self.name(0)
        raise InputError(f"none of the {len(self)} pictures can be read; the first is {first} ({self.skipped[first]})")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.identity()}, entries {self._start} to {self._stop})"

    def name(self, index: int) -> str:
        """Name of entry `index`, also if another one stands in for it."""
        return self.entry_name(self._start + index)

    def part(self, start: int, stop: int) -> "EntrySource":
        """Entries start..stop-1 as a source of their own: replaced among themselves, and counted apart."""
        part = copy.copy(self)
        part.skipped, part._lock = {}, threading.Lock()
        part._start, part._stop = self._start + start, self._start + stop
        return part

    def skip(self, name: str, reason: str) -> None:
        """Counts an unreadable entry, and names it on stderr, once."""
        with self._lock:
            if name in self.skipped:  # another thread was faster
                return
            self.skipped[name] = reason
            count = len(self.skipped)
        if count <= MOST_WARNINGS:
            log.warning("unreadable picture %s replaced by the next one: %s", name, reason)
        if count == MOST_WARNINGS:
            log.warning("further unreadable pictures are counted (data/skipped) but not named")

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()


def fingerprint(names: Iterable[str]) -> str:
    """The first 16 digits of the SHA-256 of all names, for a `repr` that identifies them."""
    joined = "\n".join(names)
    return hashlib.sha256(joined.encode("utf-8", "surrogateescape")).hexdigest()[:16]

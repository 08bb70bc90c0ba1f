"""What every source of pictures can do, and pieces of sources."""

from typing import Protocol, runtime_checkable

from asym_jax.data.entries import EntrySource
from asym_jax.data.pictures import Picture


@runtime_checkable
class Source(Protocol):
    """Pictures by index. Picture i must always be the same, and `repr` too: it identifies the source."""

    skipped: dict[str, str]  # reason by name of every picture found unreadable so far

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Picture: ...

    def name(self, index: int) -> str: ...


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


def part_of(source: Source, start: int, stop: int) -> Source:
    """Entries start..stop-1 as a source of their own.

    Unreadable entries of an `EntrySource` are replaced from within the part, and reported there.
    """
    return source.part(start, stop) if isinstance(source, EntrySource) else Part(source, start, stop)

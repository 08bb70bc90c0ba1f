"""Pictures that are files."""

from collections.abc import Sequence
from pathlib import Path

from asym_jax.data.entries import EntrySource, fingerprint
from asym_jax.data.pictures import Picture, read_picture


class FolderSource(EntrySource):
    """Picture files, in the order given."""

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__(len(paths))
        self.paths = tuple(paths)
        self._fingerprint = fingerprint(map(str, self.paths))

    def read(self, entry: int) -> Picture:
        return read_picture(self.paths[entry])

    def entry_name(self, entry: int) -> str:
        return str(self.paths[entry])

    def identity(self) -> str:
        return f"{len(self.paths)} files, {self._fingerprint}"

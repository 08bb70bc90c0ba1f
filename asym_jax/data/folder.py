"""Pictures that are files."""

import os.path
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

    def wherever(self) -> str:
        """`repr`, but the same if all files were moved together: of each path what lies below the folder that they share."""
        names = list(map(str, self.paths))
        shared = len(os.path.commonprefix([min(names), max(names)]).rpartition("/")[0])
        below = fingerprint(name[shared:] for name in names)
        return f"FolderSource({len(names)} files, {below}, entries {self._start} to {self._stop})"

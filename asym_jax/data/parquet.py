"""Parquet files with a column of encoded pictures."""

import bisect
import glob
import itertools
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asym_jax.data.content import KEYS, to_picture
from asym_jax.data.entries import EntrySource, fingerprint, log
from asym_jax.data.pictures import Picture, UnreadablePicture
from asym_jax.errors import InputError

if TYPE_CHECKING:
    import pyarrow

KEPT_GROUPS = 8
"""Row groups kept in memory by each process."""
LARGE_GROUP = 256 * 2**20
"""Bytes of a row group from which on reading single pictures out of it is slow enough to say so."""


class ParquetSource(EntrySource):
    """Rows of Parquet files. A picture costs reading its whole row group, unless that is among the last few.

    Args:
        column: holds encoded pictures as bytes, or as Hugging Face's struct of `bytes` and `path`.
    """

    def __init__(self, paths: Sequence[Path], column: str) -> None:
        import pyarrow.parquet

        files = [pyarrow.parquet.ParquetFile(path) for path in paths]
        self.paths, self.column = tuple(paths), column
        self._groups = [(i, group) for i, file in enumerate(files) for group in range(file.metadata.num_row_groups)]
        rows = [files[i].metadata.row_group(group).num_rows for i, group in self._groups]
        self._ends = list(itertools.accumulate(rows))
        super().__init__(sum(rows))
        self._fingerprint = fingerprint(f"{path.name} {file.metadata.num_rows}" for path, file in zip(paths, files, strict=True))
        self._kept: OrderedDict[int, pyarrow.Array] = OrderedDict()
        self._reading = threading.Lock()
        largest = max((files[i].metadata.row_group(group).total_byte_size for i, group in self._groups), default=0)
        if largest > LARGE_GROUP:
            size, hint = f"{largest / 2**20:.0f} MiB", "tools.pack_array_record makes it fast"
            log.warning("%s has row groups of %s, and one picture needs a whole one: %s", paths[0], size, hint)

    def read(self, entry: int) -> Picture:
        name = self.entry_name(entry)
        try:
            rows, position = self._rows(entry)
            content = rows[position].as_py()
        except Exception as error:  # pyarrow raises its own, OSError, ...
            raise UnreadablePicture(name, f"{type(error).__name__}: {error}") from error
        return to_picture(content, name)

    def entry_name(self, entry: int) -> str:
        number = bisect.bisect_right(self._ends, entry)
        file, _ = self._groups[number]
        first = bisect.bisect_left(self._groups, (file, 0))  # its first row group
        return f"{self.paths[file]}[{entry - (self._ends[first - 1] if first else 0)}]"

    def identity(self) -> str:
        return f"{len(self.paths)} Parquet files, column {self.column}, {self._fingerprint}"

    def _rows(self, entry: int) -> tuple["pyarrow.Array", int]:
        """The column of the row group that holds an entry, and the position there."""
        import pyarrow.parquet

        number = bisect.bisect_right(self._ends, entry)
        position = entry - (self._ends[number - 1] if number else 0)
        with self._reading:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number], position
        file, group = self._groups[number]
        with pyarrow.parquet.ParquetFile(self.paths[file], memory_map=True) as opened:
            rows = opened.read_row_group(group, columns=[self.column]).column(0).combine_chunks()
        with self._reading:
            self._kept[number] = rows
            while len(self._kept) > KEPT_GROUPS:
                self._kept.popitem(last=False)
        return rows, position

    def __getstate__(self) -> dict[str, object]:
        return super().__getstate__() | {"_kept": OrderedDict(), "_reading": None}

    def __setstate__(self, state: Mapping[str, object]) -> None:
        super().__setstate__(dict(state))
        self._reading = threading.Lock()


def open_parquet(place: str, column: str = "") -> ParquetSource:
    """The rows of a file, of all *.parquet files in a folder, or of a pattern.

    Args:
        column: where the pictures are; if empty, the only column that can hold one, or the one with a usual name.

    Raises:
        InputError: there are no such files, no rows, or no such column.
    """
    import pyarrow.parquet

    path = Path(place)
    if path.is_dir():
        found = sorted(path.rglob("*.parquet"))
    else:
        found = [path] if path.is_file() else sorted(Path(name) for name in glob.glob(place))
    if not found:
        raise InputError(f"no Parquet files at {place}: expected a folder of *.parquet files, a file, or a pattern")
    try:
        schema = pyarrow.parquet.read_schema(found[0])
        source = ParquetSource(found, column or _picture_column(schema, found[0]))
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise InputError(f"{place} cannot be read as Parquet: {error}") from error
    if source.column not in schema.names:
        raise InputError(f"{found[0]} has no column {source.column!r}; it has {', '.join(schema.names)}")
    if not len(source):
        raise InputError(f"the Parquet files at {place} have no rows")
    return source


def _picture_column(schema: "pyarrow.Schema", path: Path) -> str:
    import pyarrow.types as types

    def can_hold(kind: "pyarrow.DataType") -> bool:
        if types.is_struct(kind):
            return "bytes" in {field.name for field in kind}
        return types.is_binary(kind) or types.is_large_binary(kind)

    possible = [field.name for field in schema if can_hold(field.type)]
    usual = [key for key in KEYS if key in possible]
    if usual or len(possible) == 1:
        return (usual or possible)[0]
    problem = f"several columns could hold pictures ({', '.join(possible)})" if possible else "no column holds encoded pictures"
    raise InputError(f"{path}: {problem}; name one as parquet:PATH#COLUMN (it has {', '.join(schema.names)})")

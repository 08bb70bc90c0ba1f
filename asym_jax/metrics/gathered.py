"""What batches said of pictures, put in its place by the pictures' numbers in their data set.

Nothing is added up before all is there: so padding, repeated pictures, the order of
batches, their spread over devices and hosts, and interruptions cannot change a result.
"""

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Array, Bool, Int, Shaped

from asym_jax.errors import InputError

PADDING = -1
"""Number of a row that only fills up its batch."""

NAMED = 10
"""Missing pictures that a message spells out."""

# Entries of the file beside the columns, whose names have a prefix.
SEEN, STAMP, COLUMN = "seen", "stamp", "column/"

Rows = Mapping[str, Shaped[Array | np.ndarray, "_ ..."]]


class ByIndex:
    """Columns with one row for each of `count` pictures, filled in any order.

    Attributes:
        seen: which pictures have their row.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"there must be at least one picture, not {count}")
        self.seen: Bool[np.ndarray, " n"] = np.zeros(count, bool)
        self._columns: dict[str, np.ndarray] = {}

    def add(self, indices: Int[Array | np.ndarray, " b"], rows: Rows) -> None:
        """Puts row i of each column in the place of picture `indices[i]`.

        Padding (-1) and pictures that were seen before are left out, whatever their
        rows hold. The first call decides which columns there are, and their types.

        Raises:
            ValueError: a number is beyond the data set, or a column is missing, new, or of another shape or type.
        """
        indices, rows = np.asarray(indices), {name: np.asarray(values) for name, values in rows.items()}
        if np.any((indices < PADDING) | (indices >= len(self.seen))):
            raise ValueError(f"pictures are numbered from 0 to {len(self.seen) - 1}; a batch has {indices.tolist()}")
        self._check(len(indices), rows)
        if not self._columns:
            self._columns = {name: np.zeros((len(self.seen), *values.shape[1:]), values.dtype) for name, values in rows.items()}
        _, first = np.unique(indices, return_index=True)
        new = [i for i in first if indices[i] != PADDING and not self.seen[indices[i]]]
        for name, values in rows.items():
            self._columns[name][indices[new]] = values[new]
        self.seen[indices[new]] = True

    def _check(self, batch: int, rows: Mapping[str, np.ndarray]) -> None:
        for name, values in rows.items():
            if values.shape[:1] != (batch,):
                raise ValueError(f"column {name} has shape {values.shape} in a batch of {batch}")
        given = {name: (values.shape[1:], values.dtype) for name, values in rows.items()}
        known = {name: (values.shape[1:], values.dtype) for name, values in self._columns.items()}
        if known and given != known:
            raise ValueError(f"the columns were {known}, and a batch has {given}")

    def merge(self, other: "ByIndex") -> None:
        """Takes over the rows that only `other`, from another host or an earlier run, has seen. Raises ValueError as `add` does."""
        if len(other.seen) != len(self.seen):
            raise ValueError(f"there are {len(self.seen)} pictures here and {len(other.seen)} there")
        if other._columns:
            self.add(np.where(other.seen, np.arange(len(other.seen)), PADDING), other._columns)

    def missing(self) -> list[int]:
        """Pictures without a row."""
        return np.flatnonzero(~self.seen).tolist()

    def columns(self) -> dict[str, Shaped[np.ndarray, "n ..."]]:
        """All columns, in the order of the data set. Raises ValueError, with their numbers, if pictures are missing."""
        missing = self.missing()
        if missing:
            more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
            named = ", ".join(map(str, missing[:NAMED]))
            raise ValueError(f"{len(missing)} of {len(self.seen)} pictures were not measured: {named}{more}")
        return dict(self._columns)

    def save(self, path: Path, *, stamp: str) -> None:
        """Writes everything to a file, which holds either the old state or the new one whatever happens meanwhile.

        `stamp` says what was measured how (settings, hashes of weights); a file with another one is not read back.
        """
        arrays = {COLUMN + name: values for name, values in self._columns.items()}
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
        try:
            with unfinished.open("wb") as file:
                np.savez(file, allow_pickle=False, **{SEEN: self.seen, STAMP: np.frombuffer(stamp.encode(), np.uint8)}, **arrays)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path, *, count: int, stamp: str) -> "ByIndex":
        """What `save` wrote.

        Raises:
            InputError: the file is damaged, or was written with another stamp or for another number of pictures.
        """
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            seen, written = arrays.pop(SEEN), arrays.pop(STAMP).tobytes().decode()
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} is no file of gathered results, or is damaged ({error}); remove it to start over") from error
        if written != stamp:
            raise InputError(f"{path} was measured with other settings ({written}, and now {stamp}); remove it to start over")
        columns = {name.removeprefix(COLUMN): values for name, values in arrays.items()}
        fits = seen.shape == (count,) and seen.dtype == bool and all(values.shape[:1] == (count,) for values in columns.values())
        if not fits or (seen.any() and not columns):
            raise InputError(f"{path} is not about {count} pictures but {seen.shape}; remove it to start over")
        result = cls(count)
        result.seen, result._columns = seen, columns
        return result

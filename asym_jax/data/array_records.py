"""ArrayRecord shards whose records are encoded pictures, as `tools/pack_array_record.py` writes them."""

import bisect
import glob
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from asym_jax.data.content import to_picture
from asym_jax.data.entries import EntrySource, fingerprint
from asym_jax.data.pictures import Picture, UnreadablePicture
from asym_jax.errors import InputError

INDEX = "index.json"
"""Written last when a folder is packed: its shards, their records, and the names of these."""
PLAN = "packing.json"
"""Present as long as packing a folder is not finished."""


class Shard(NamedTuple):
    """One file, the number of its records, and their names if they are known."""

    path: Path
    records: int
    names: tuple[str, ...] = ()


class ArrayRecordSource(EntrySource):
    """The records of all shards, in order."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        super().__init__(sum(shard.records for shard in shards))
        self.shards = tuple(shards)
        self._ends = list(itertools.accumulate(shard.records for shard in shards))
        # With the range of records in the name, no file is opened before it is read from.
        self._records = ArrayRecordDataSource([f"{shard.path}[0:{shard.records}]" for shard in shards])
        self._fingerprint = fingerprint(f"{shard.path.name} {shard.records}" for shard in shards)

    def read(self, entry: int) -> Picture:
        name = self.entry_name(entry)
        try:
            record = self._records[entry]
        except Exception as error:  # a damaged block is a RuntimeError
            raise UnreadablePicture(name, f"{type(error).__name__}: {error}") from error
        return to_picture(record, name)

    def entry_name(self, entry: int) -> str:
        number = bisect.bisect_right(self._ends, entry)
        shard = self.shards[number]
        position = entry - self._ends[number] + shard.records
        return shard.names[position] if shard.names else f"{shard.path}[{position}]"

    def identity(self) -> str:
        return f"{len(self.shards)} shards, {self._ends[-1]} records, {self._fingerprint}"


def open_array_records(place: str) -> ArrayRecordSource:
    """The shards of a folder, of a pattern such as `DIR/train-*`, or one file.

    Raises:
        InputError: there are none, or one of them is no whole ArrayRecord file, or packing the folder was not finished.
    """
    folder = Path(place)
    if folder.is_dir():
        if (folder / PLAN).exists() and not (folder / INDEX).exists():
            raise InputError(f"{folder} is not packed to the end: run the same tools.pack_array_record command again")
        if (folder / INDEX).exists():
            return ArrayRecordSource(_indexed(folder))
        found = sorted(path for path in folder.iterdir() if ".array_record" in path.name and not path.name.startswith("."))
    else:
        found = [folder] if folder.is_file() else sorted(Path(name) for name in glob.glob(place))
    if not found:
        raise InputError(f"no ArrayRecord files at {place}: expected a folder of *.array_record files, a file, or a pattern")
    shards = [Shard(path, count_records(path)) for path in found]
    if not sum(shard.records for shard in shards):
        raise InputError(f"the {len(found)} ArrayRecord files at {place} hold no records")
    return ArrayRecordSource([shard for shard in shards if shard.records])


def count_records(path: Path) -> int:
    """Records in a file. Raises InputError if it is missing, or no whole ArrayRecord file."""
    from array_record.python.array_record_module import ArrayRecordReader

    try:
        reader = ArrayRecordReader(str(path))
        whole, count = reader.ok(), reader.num_records()  # a file that is none says 0 records, and `ok` is false
        reader.close()
    except RuntimeError as error:
        raise InputError(f"{path} is cut short, or no ArrayRecord file: {error}") from error
    if not whole:
        raise InputError(f"{path} is missing, cut short, or no ArrayRecord file")
    return count


def _indexed(folder: Path) -> list[Shard]:
    try:
        entries = json.loads((folder / INDEX).read_text(encoding="utf-8"))["shards"]
        shards = [Shard(folder / entry["file"], int(entry["records"]), tuple(entry["names"])) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / INDEX} was not written by tools.pack_array_record ({type(error).__name__}: {error})"
        ) from error
    for shard in shards:
        found = count_records(shard.path)
        if not found == shard.records == len(shard.names):
            raise InputError(f"{shard.path} holds {found} records, and {folder / INDEX} promises {shard.records}: pack it again")
    return [shard for shard in shards if shard.records]

"""Files made to harm: each is refused by name, in bounded time and memory, and nothing in it runs."""

import dataclasses
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from asym_jax.errors import InputError
from asym_jax.weights.files import unpickler
from asym_jax.weights.files.torch_pickle import read_torch
from tests.weights.files import forged
from tests.weights.files.forged import Entry, integer, integers, pickled, state_dict, storage, tensor, text, write
from tests.weights.files.hostile_pickles import (
    CALLS,
    DOUBLED,
    LAUGHS,
    ONE,
    PICKLES,
    copies,
    nested,
    one_hash,
    placed,
    values,
    weight,
)
from tests.weights.files.refusal import soon

SECONDS = 2
"""Of processor time, of which the type checks of the tests take most."""


def assert_refused(path: Path, reason: str) -> None:
    with soon(SECONDS), pytest.raises(InputError, match=rf"^{path} .*{reason}") as refusal:
        read_torch(path)
    message = str(refusal.value)
    assert len(message) < 700 and message.isprintable()


def in_zip(content: bytes) -> bytes:
    return forged.zip_bytes(forged.zip_entries(content))


@pytest.mark.parametrize("kind", PICKLES)
def test_pickles(kind, tmp_path):
    content, reason = PICKLES[kind]
    marker = tmp_path / "marker"
    content = content.replace(text("touch {marker}"), text(f"touch {marker}"))
    assert_refused(write(tmp_path, in_zip(content)), reason)
    assert_refused(write(tmp_path, forged.legacy_bytes(content)), "")
    assert not marker.exists()


def test_the_number_of_steps_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(unpickler, "STEPS", 1_000)
    assert_refused(write(tmp_path, in_zip(values(1_000))), "has more than 1,000 steps")


def changed_entry(position: int, **values) -> list[Entry]:
    entries = forged.zip_entries()
    entries[position] = dataclasses.replace(entries[position], **values)
    return entries


def in_place_of(first: Entry, second: Entry) -> Entry:
    """A third entry that the list of entries puts where the third of all lies."""
    return dataclasses.replace(ALL[2], name="file/data/9", listed_start=len(first.local()) + len(second.local()))


ALL = forged.zip_entries()
ZIPS = {
    "compressed": (forged.zip_bytes(changed_entry(2, method=8)), "compressed"),
    "bomb": (forged.zip_bytes(changed_entry(2, method=8, listed_size=2**32 - 2)), "compressed"),
    "encrypted": (forged.zip_bytes(changed_entry(2, flags=0x0809)), "encrypted"),
    "strongly encrypted": (forged.zip_bytes(changed_entry(2, flags=0x0840)), "encrypted"),
    "entry twice": (forged.zip_bytes([*ALL, ALL[2]]), "two entries of the name 'file/data/0'"),
    "name upwards": (forged.zip_bytes([*ALL, Entry("file/../../etc/passwd", b"x")]), "leads out of the file"),
    "absolute name": (forged.zip_bytes([*ALL, Entry("/etc/passwd", b"x")]), "leads out of the file"),
    "drive letter": (forged.zip_bytes([*ALL, Entry("C:/x", b"x")]), "leads out of the file"),
    "backslashes": (forged.zip_bytes([*ALL, Entry("file\\..\\x", b"x")]), "leads out of the file"),
    "zero in a name": (forged.zip_bytes([*ALL, Entry("file\0/x", b"x")]), "leads out of the file"),
    "no pickle": (forged.zip_bytes(ALL[1:]), "0 entries are called data.pkl"),
    "two pickles": (forged.zip_bytes([*ALL, Entry("other/data.pkl", b"x")]), "2 entries are called data.pkl"),
    "storage entry missing": (forged.zip_bytes([ALL[0], *ALL[2:3]]), "storage '1' is missing"),
    "storage entry short": (forged.zip_bytes(changed_entry(2, content=b"1234")), "has 4 bytes, and 24 were announced"),
    "storage entry long": (forged.zip_bytes(changed_entry(2, content=b"1234" * 7)), "has 28 bytes, and 24 were announced"),
    "big-endian": (forged.zip_bytes(changed_entry(1, content=b"big")), "big-endian"),
    "bytes after the pickle": (forged.zip_bytes(changed_entry(0, content=forged.whole_pickle() + b"x")), "goes on for 1 bytes"),
    "list with another size": (forged.zip_bytes(changed_entry(2, listed_size=20)), "is not followed by its size"),
    "list with two sizes": (forged.zip_bytes(changed_entry(2, listed_packed=20)), "another size than its own"),
    "list with a huge size": (forged.zip_bytes(changed_entry(2, listed_size=2**31)), "not where the list of entries says"),
    "list without its long size": (forged.zip_bytes(changed_entry(2, listed_size=2**32 - 1)), "64-bit size of an entry is missing"),
    "list with another place": (forged.zip_bytes(changed_entry(2, listed_start=5)), "not where the list of entries says"),
    "list with a place outside": (forged.zip_bytes(changed_entry(2, listed_start=2**31)), "outside the file"),
    "another size after the content": (forged.zip_bytes(changed_entry(2, following_size=20)), "is not followed by its size"),
    "entries in one place": (forged.zip_bytes([*ALL, in_place_of(*ALL[:2])]), "not where the list of entries says"),
    "fewer entries than announced": (forged.zip_bytes(ALL, count=len(ALL) + 1), "outside the file|list of entries is damaged"),
    "more entries than announced": (forged.zip_bytes(ALL, count=len(ALL) - 1), "longer than its entries"),
    "a billion entries announced": (forged.zip_bytes(ALL, count=10**9), "1,000,000,000 entries"),
    "list somewhere else": (forged.zip_bytes(ALL, moved=1), "not where it should be"),
    "text after the end": (forged.whole_zip() + b"x", "does not end as zip files"),
    "text before the beginning": (b"PK\x03\x04" + forged.whole_zip(), "not where it should be"),
    "other file with a zip's beginning": (b"PK\x03\x04" + b"\0" * 5_000, "does not end as zip files"),
    "nothing but the end": (b"PK\x03\x04", "outside the file"),
}


@pytest.mark.parametrize("kind", ZIPS)
def test_zip_files(kind, tmp_path):
    content, reason = ZIPS[kind]
    assert_refused(write(tmp_path, content), reason)


def overlapping() -> bytes:
    """An entry whose content holds another whole entry, so that two names show the same bytes."""
    inner = Entry("file/data/0", forged.NUMBERS["0"].tobytes())
    outer = Entry("file/note", inner.local())
    start = len(outer.local()) - 16 - len(inner.local())
    entries = [outer, *[dataclasses.replace(entry, listed_start=start) if entry.name == inner.name else entry for entry in ALL]]
    return forged.zip_bytes(entries)


def test_overlapping_entries(tmp_path):
    assert_refused(write(tmp_path, overlapping()), "overlap")


HEAD = forged.MAGIC + forged.VERSION + forged.MACHINE
BODY, LIST = forged.whole_pickle(b"N"), forged.storage_list("0", "1")
DATA = forged.legacy_storage("0") + forged.legacy_storage("1")
LEGACY = {
    "other magic number": (pickled(integer(1)) + forged.VERSION, "does not begin as those of torch.save"),
    "magic text": (pickled(text("magic")) + forged.VERSION, "does not begin as those of torch.save"),
    "other version": (forged.MAGIC + pickled(integer(1002)) + forged.MACHINE, "version 1002"),
    "big-endian": (forged.MAGIC + forged.VERSION + pickled(state_dict(little_endian=b"\x89")) + BODY, "big-endian"),
    "no machine": (forged.MAGIC + forged.VERSION + pickled(b"N") + BODY, "the machine that it was saved on"),
    "count too small": (HEAD + BODY + LIST + forged.legacy_storage("0", 5) + DATA, "holds 5 numbers, and 6 were announced"),
    "count negative": (HEAD + BODY + LIST + forged.legacy_storage("0", -6) + DATA, "holds -6 numbers, and 6 were announced"),
    "count huge": (HEAD + BODY + LIST + forged.legacy_storage("0", 2**62) + DATA, "and 6 were announced"),
    "count huge twice": (
        HEAD + weight(storage("0", "FloatStorage", 2**50, b"N")) + forged.storage_list("0") + forged.legacy_storage("0", 2**50),
        "and the file has only",
    ),
    "bytes after the end": (forged.whole_legacy() + b"x", "goes on for 1 bytes"),
    "list missing": (HEAD + BODY + DATA, "."),
    "list of something else": (HEAD + BODY + pickled(b"]K\x01a") + DATA, "list of its storages is missing"),
    "list too short": (HEAD + BODY + forged.storage_list("0") + DATA, "lists 1 storages, and its tensors refer to 2"),
    "list with another": (HEAD + BODY + forged.storage_list("0", "2") + DATA, "or to others"),
    "list with one twice": (HEAD + BODY + forged.storage_list("0", "1", "1") + DATA, "lists 3 storages"),
    "empty": (b"", "it is empty"),
    "text": (b"version https://git-lfs.github.com/spec/v1\n", "neither as a zip file nor as a pickle"),
}


@pytest.mark.parametrize("kind", LEGACY)
def test_legacy_files(kind, tmp_path):
    content, reason = LEGACY[kind]
    assert_refused(write(tmp_path, content), reason)


@pytest.mark.parametrize("whole", [forged.whole_zip(), forged.whole_legacy()], ids=["zip", "legacy"])
def test_every_beginning_of_a_file_is_refused(whole, tmp_path):
    assert len(read_torch(write(tmp_path, whole)).tensors) == 3
    for length in range(len(whole)):
        with pytest.raises(InputError, match="file.bin is damaged"):
            read_torch(write(tmp_path, whole[:length]))


def test_every_end_of_a_zip_file_is_refused(tmp_path):
    whole = forged.whole_zip()
    for start in range(1, len(whole)):
        with pytest.raises(InputError, match="file.bin"):
            read_torch(write(tmp_path, whole[:4] + whole[start + 4 :]))


GREEDY = {
    "text": placed(b"X" + struct.pack("<I", 2**31)),
    "memo": placed(b"Nr" + struct.pack("<I", 2**31)),
    "shape": weight(b"", b"K\x00", integers((2**62,)), ONE),
    "storage": weight(storage("0", "FloatStorage", 2**50)),
    "laughs": placed(LAUGHS),
    "hash": pickled(b"}" + DOUBLED + b"Ns"),
    "one hash": one_hash(200_000),
    "copies": copies(150_000),
    "values": values(3_000_000),
    "marks": pickled(b"(" * 3_000_000),
    "tuples": placed(b")" + b"\x85" * 900_000),
    "lists": placed(b"]" + nested(b"]", b"a", 400_000)),
    "dicts": placed(b"}" + nested(b"N}", b"s", 300_000)),
    "too long": placed(b"N" * (64 * 2**20)),
}

# Beside the type checks of the tests, time and memory would not be the reader's own.
MEASURE = """
import pathlib, resource, sys, time
from asym_jax.errors import InputError
from asym_jax.weights.files import unpickler
from asym_jax.weights.files.torch_pickle import read_torch
for path in sys.argv[1:]:
    started, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        read_torch(pathlib.Path(path))
    except InputError:
        print(time.process_time() - started, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_time_and_memory_are_bounded(tmp_path):
    paths = [write(tmp_path, in_zip(content), f"{kind}.bin") for kind, content in GREEDY.items()]
    run = subprocess.run([sys.executable, "-c", MEASURE, *map(str, paths)], check=True, capture_output=True, text=True)
    for path in paths:
        path.unlink()  # some are large
    spent = [tuple(map(float, line.split())) for line in run.stdout.splitlines()]
    assert len(spent) == len(GREEDY)
    for kind, (seconds, megabytes) in zip(GREEDY, spent, strict=True):
        assert seconds < 3 * SECONDS and megabytes < 400, (kind, seconds, megabytes)


def test_what_is_not_read_does_no_harm(tmp_path):
    """Monsters beside the weights of a checkpoint: nobody visits them, and nothing takes longer for them."""
    monsters = {
        "list in itself": b"]q\x63h\x63a",
        "deep": b")" + b"\x85" * 20_000,
        "laughs": LAUGHS,
        "bomb": b"}" + DOUBLED + b"Ns",
        "terminal": text("\x1b[2J"),
    }
    content = pickled(state_dict(state_dict=state_dict(weight=tensor()), **monsters))
    with soon(SECONDS):
        read = read_torch(write(tmp_path, in_zip(content)))
    assert read.left_out == tuple(monsters)
    np.testing.assert_array_equal(read.tensors["weight"], forged.NUMBERS["0"].reshape(2, 3))


def test_the_harmful_ones_are_harmful(tmp_path):
    """Python's own reader runs the first of them."""
    marker = tmp_path / "marker"
    pickle.loads(CALLS["call of a command"][0].replace(text("touch {marker}"), text(f"touch {marker}")))
    assert marker.exists()

"""Whatever the bytes of a file are, a reader gives tensors that lie in it, or refuses it with `InputError`; and it does so soon."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asym_jax.errors import InputError
from asym_jax.weights.files.stored import TensorFile
from asym_jax.weights.files.torch_pickle import read_torch
from tests.weights.files import forged
from tests.weights.files.refusal import soon

SECONDS = 2
LONGEST = 2**20
"""Numbers of a tensor that are read to see whether they can be."""


class Reader(NamedTuple):
    """A function that reads files, and a small valid file for it."""

    whole: Callable[[], bytes]
    read: Callable[[Path], TensorFile]


READERS = {
    "torch-zip": Reader(forged.whole_zip, read_torch),
    "torch-legacy": Reader(forged.whole_legacy, read_torch),
}

MANY = int(os.environ.get("FUZZ_EXAMPLES", "3000"))
few_or_many = pytest.mark.parametrize("examples", [200, pytest.param(MANY, marks=pytest.mark.slow)])


def check(content: bytes, path: Path, read: Callable[[Path], TensorFile]) -> None:
    """The property."""
    path.write_bytes(content)
    try:
        with soon(SECONDS):
            found = read(path)
    except InputError as error:
        assert str(path) in str(error)
        return
    for tensor in found.tensors.values():
        assert 0 <= tensor.start <= tensor.end <= len(content)
        array = np.asarray(tensor)
        assert array.shape == tensor.shape and array.dtype == tensor.dtype
        if tensor.size <= LONGEST:
            array.tobytes()


def repeat(examples: int, contents: st.SearchStrategy[bytes], path: Path, read: Callable[[Path], TensorFile]) -> None:
    """Checks that many files, always the same ones."""

    @settings(max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(contents)
    def check_one(content):
        check(content, path, read)

    check_one()


NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]


@st.composite
def changed(draw, whole: bytes) -> bytes:
    """A file with a few bytes flipped, left out, put in, copied from elsewhere, or made a number that readers stumble over."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place, length = draw(st.integers(0, len(content))), draw(st.integers(1, 24))
        kind = draw(st.sampled_from(["flip", "flip", "number", "number", "splice", "delete", "insert", "cut"]))
        if kind == "flip":
            content[place : place + 1] = bytes(byte ^ draw(st.integers(1, 255)) for byte in content[place : place + 1])
        elif kind == "delete":
            del content[place : place + length]
        elif kind == "insert":
            content[place:place] = draw(st.binary(min_size=1, max_size=24))
        elif kind == "splice":
            source = draw(st.integers(0, len(content)))
            copied = content[source : source + length]
            content[place : place + len(copied)] = copied
        elif kind == "number":
            width = draw(st.sampled_from([1, 2, 4, 8]))
            content[place : place + width] = (draw(st.sampled_from(NUMBERS)) % 256**width).to_bytes(width, "little")
        else:
            del content[place:]
    return bytes(content)


@few_or_many
@pytest.mark.parametrize("reader", READERS)
def test_changed_files(reader, examples, tmp_path):
    whole, read = READERS[reader]
    check(whole(), tmp_path / "whole.bin", read)
    repeat(examples, changed(whole()), tmp_path / "changed.bin", read)


@few_or_many
@pytest.mark.parametrize("reader", READERS)
def test_random_bytes_after_a_true_beginning(reader, examples, tmp_path):
    whole, read = READERS[reader]
    starts = st.sampled_from([whole()[:length] for length in (0, 2, 4, 8, 30, 60)])
    repeat(examples, st.builds(bytes.__add__, starts, st.binary(max_size=200)), tmp_path / "random.bin", read)


SIMPLE = [bytes([code]) for code in b"()]}tau\x85\x86\x87sRb\x81QNe\x88\x89."] + [b"q\x00", b"q\x01", b"h\x00", b"h\x01", b"K\x03"]
NAMES = [
    forged.REBUILD,
    forged.ORDERED_DICT,
    forged.name("torch", "FloatStorage"),
    forged.name("torch._utils", "_rebuild_parameter"),
    forged.name("torch", "Size"),
    forged.name("typing", "Any"),
    forged.name("os", "system"),
]
PARTS = [
    *map(forged.text, ("storage", "0", "1", "state_dict", "weight")),
    forged.storage(),
    forged.tensor(),
    forged.state_dict(a=forged.tensor()),
]
sizes = st.integers(0, 4) | st.integers(0, 2) | st.sampled_from([-1, *NUMBERS])
axes = st.lists(st.tuples(sizes, sizes), max_size=3)  # lengths and strides
tensors = st.builds(
    lambda offset, axes: forged.tensor(b"", forged.integer(offset), *(forged.integers([axis[i] for axis in axes]) for i in (0, 1))),
    sizes,
    axes,
)
fragments = st.sampled_from(SIMPLE) | st.sampled_from(NAMES + PARTS) | tensors | tensors | st.binary(min_size=1, max_size=3)
programs = st.lists(fragments, max_size=25).map(b"".join)
named = st.dictionaries(st.sampled_from(["a", "b", "state_dict"]), tensors | programs, min_size=1).map(
    lambda entries: forged.state_dict(**entries)
)


@few_or_many
@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_random_pickles(container, examples, tmp_path):
    """Programs of the opcodes that torch writes, in files that are whole otherwise."""

    def content(pickled: bytes) -> bytes:
        return forged.zip_bytes(forged.zip_entries(pickled)) if container == "zip" else forged.legacy_bytes(pickled, "0")

    repeat(examples, (programs | named).map(forged.pickled).map(content), tmp_path / "program.bin", read_torch)

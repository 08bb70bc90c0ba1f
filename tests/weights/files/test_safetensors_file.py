import json
import struct

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save, save_file

from asym_jax.weights.files.safetensors_file import DTYPES, read_safetensors, write_safetensors
from tests.weights.files.refusal import assert_refused, refuses, within

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def drawn(dtype, shape):
    """Other numbers for every shape."""
    return np.random.default_rng(len(shape)).integers(0, 2 if np.dtype(dtype).kind == "b" else 100, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_files_of_the_library_have_the_same_numbers_here(dtype, tmp_path):
    shapes = {"scalar": (), "none": (0, 3), "one": (1,), "two": (2, 3), "four": (3, 2, 5, 1)}
    given = {name: drawn(dtype, shape) for name, shape in shapes.items()}
    save_file(given, tmp_path / "x", {"config": "kept"})
    content = read_safetensors(tmp_path / "x")
    assert content.metadata == {"config": "kept"} and set(content.tensors) == set(given)
    for name, tensor in content.tensors.items():
        array, expected = np.asarray(tensor), given[name]
        assert array.dtype == tensor.dtype == dtype and array.shape == tensor.shape == expected.shape
        assert array.tobytes() == expected.tobytes()


def test_what_is_written_the_library_reads(tmp_path):
    given = {"a": drawn(np.float32, (2, 3)).T, "b": drawn(BFLOAT16, (4,)), "c": drawn(np.float16, ()), "d": drawn(np.int8, (0, 2))}
    write_safetensors(tmp_path / "x", given, {"config": "{}"})
    found = load_file(tmp_path / "x")
    for name, expected in given.items():
        assert found[name].dtype == expected.dtype and found[name].shape == expected.shape
        assert np.array_equal(found[name], expected)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644
    assert read_safetensors(tmp_path / "x").metadata == {"format": "pt", "config": "{}"}


def test_numbers_stay_in_the_file(tmp_path):
    """8 GiB that take no room on the disk, and none in memory."""
    size = 8 * 2**30
    head = parts({"w": entry([size // 2], "BF16", 0, size)}, b"")
    with (tmp_path / "x").open("wb") as file:
        file.write(head)
        file.truncate(len(head) + size)
    with within(2):
        tensor = read_safetensors(tmp_path / "x").tensors["w"]
        assert tensor.size == size // 2 and np.asarray(tensor)[-1] == 0


def entry(shape=(2, 3), dtype="F32", start=0, end=24, **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end], **more}


def parts(header, numbers=bytes(24), length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + numbers


def alone(*arguments, **more):
    return parts({"w": entry(*arguments, **more)})


WHOLE = save({"a.weight": np.ones((2, 3), np.float32), "b": np.ones((), np.int8), "c": np.ones((2, 2), np.float16)})
BROKEN = "is damaged, incomplete, or no safetensors file"
ENTRY = json.dumps(entry())

HOSTILE = {
    "no numbers": (parts({"w": entry()}, b""), BROKEN),
    "numbers missing": (parts({"w": entry()}, bytes(20)), BROKEN),
    "numbers left over": (parts({"w": entry()}, bytes(28)), BROKEN),
    "huge description": (parts({"w": entry()}, length=2**63), "description of its tensors has 9,223,372,036,854,775,808 bytes"),
    "description of 100 MB": (parts({"w": entry()}, length=10**8), "description of its tensors has 100,000,000 bytes"),
    "description beyond the end": (parts({"w": entry()}, length=200), BROKEN),
    "no description": (struct.pack("<Q", 0) + bytes(24), BROKEN),
    "no JSON": (parts(b"{'w': 1}"), BROKEN),
    "no UTF-8": (parts(b'{"\xff": 1}'), BROKEN),
    "list": (parts([entry()]), BROKEN),
    "entry that is none": (parts({"w": 1}), BROKEN),
    "deep JSON": (parts(b'{"w":' * 50_000), BROKEN),
    "deep lists": (parts(b'{"w":' + b"[" * 50_000 + b"]" * 50_000 + b"}"), BROKEN),
    "endless number": (parts(b'{"w":' + b"9" * 100_000 + b"}"), BROKEN),
    "overlapping": (parts({"a": entry(), "b": entry((3,), start=12, end=24)}), BROKEN),
    "the same numbers twice": (parts({"a": entry(), "b": entry()}), BROKEN),
    "gap": (parts({"a": entry((3,), end=12), "b": entry((2,), start=16, end=24)}), BROKEN),
    "gap at the beginning": (parts({"a": entry((5,), start=4, end=24)}), BROKEN),
    "end before start": (alone(start=24, end=0), BROKEN),
    "negative start": (alone(start=-24, end=0), BROKEN),
    "start that is no number": (alone(start="0"), BROKEN),
    "NaN as end": (alone(end=float("nan")), BROKEN),
    "unknown type": (alone(dtype="F31"), BROKEN),
    "eight bits": (alone((4, 6), "F8_E4M3"), r"numbers of type F8_E4M3; read are F64"),
    "complex": (alone((3,), "C64"), r"numbers of type C64; read are F64"),
    "other type": (alone(dtype="F64"), BROKEN),
    "shape that does not fit": (alone((2, 4)), BROKEN),
    "negative shape": (alone((-2, -3)), BROKEN),
    "fraction in a shape": (alone((2.0, 3)), BROKEN),
    "truth in a shape": (alone((True, 6)), BROKEN),
    "shape that overflows": (alone((2**32, 2**32 + 6)), BROKEN),
    "empty shape beyond all arrays": (parts({"w": entry((0, 2**62, 2**62), end=0)}, b""), "no array of float32 has the shape"),
    "many axes": (alone((2, 3, *(1,) * 100)), "no array of float32 has the shape"),
    "name twice": (parts(f'{{"w": {ENTRY}, "w": {ENTRY}}}'.encode()), "it holds 'w' twice"),
    "type twice": (parts(f'{{"w": {{"dtype": "I8", {ENTRY[1:]}}}'.encode()), "it holds 'dtype' twice"),
    "metadata twice": (parts(f'{{"__metadata__": {{}}, "__metadata__": {{}}, "w": {ENTRY}}}'.encode()), "'__metadata__' twice"),
    "metadata that is no text": (parts({"__metadata__": {"config": 1}, "w": entry()}), BROKEN),
    "terminal codes in a name": (parts({"a\x1b[2Jb": entry()}), "which is no name"),
    "newline in a name": (parts({"a\nb": entry()}), "which is no name"),
    "half a character in a name": (parts(f'{{"\\ud800": {ENTRY}}}'.encode()), "which is no name|is damaged"),
    "empty name": (parts({"": entry()}), "which is no name"),
    "endless name": (parts({"w" * 100_000: entry()}), "which is no name"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files(kind, tmp_path):
    content, reason = HOSTILE[kind]
    (tmp_path / "x.safetensors").write_bytes(content)
    assert_refused(read_safetensors, tmp_path / "x.safetensors", reason)


def test_the_whole_file_is_read_and_no_part_of_it(tmp_path):
    path = tmp_path / "x.safetensors"
    assert not refuses(read_safetensors, path, WHOLE)
    assert [end for end in range(len(WHOLE)) if not refuses(read_safetensors, path, WHOLE[:end])] == []
    assert refuses(read_safetensors, path, WHOLE + b"\0")

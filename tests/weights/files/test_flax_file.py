import struct

import ml_dtypes
import msgpack
import numpy as np
import pytest
from flax.serialization import msgpack_restore, to_bytes

from asym_jax.weights.files import flax_file
from asym_jax.weights.files.flax_file import TYPES, read_flax, write_flax
from tests.weights.files.refusal import assert_refused, refuses, within

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def drawn(dtype, shape):
    """Other numbers for every shape."""
    return np.random.default_rng(sum(shape)).integers(0, 2 if np.dtype(dtype).kind == "b" else 100, shape).astype(dtype)


@pytest.mark.parametrize("dtype", sorted(TYPES))
def test_flax_files_have_the_same_numbers_here(dtype, tmp_path):
    """Every kind of number, and every length that msgpack writes in another way."""
    dtype = BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype)
    shapes = {"scalar": (), "none": (0, 3), "one": (1,), "small": (2, 3), "medium": (300,), "large": (70, 1000), "axes": (2,) * 8}
    given = {name: drawn(dtype, shape) for name, shape in shapes.items()}
    (tmp_path / "x").write_bytes(to_bytes({"outer": given, "n" * 40: {"inner": given}}))
    found = read_flax(tmp_path / "x").tensors
    assert set(found) == {f"{outer}/{name}" for outer in ("outer", f"{'n' * 40}/inner") for name in shapes}
    for name, tensor in found.items():
        array, expected = np.asarray(tensor), given[name.rpartition("/")[2]]
        assert array.dtype == tensor.dtype == dtype and array.shape == tensor.shape == expected.shape
        assert array.tobytes() == expected.tobytes()


def test_long_maps_and_long_names(tmp_path):
    given = {f"{number:0300}": np.float32([number]) for number in range(300)}
    (tmp_path / "x").write_bytes(to_bytes(given))
    found = read_flax(tmp_path / "x").tensors
    assert {name: float(np.asarray(tensor)[0]) for name, tensor in found.items()} == {name: float(int(name)) for name in given}


def test_what_is_written_flax_reads(tmp_path):
    given = {"a/b/kernel": drawn(np.float32, (2, 3)).T, "a/scale": drawn(BFLOAT16, (4,)), "c": drawn(np.float32, ())}
    write_flax(tmp_path / "x", given)
    found = msgpack_restore((tmp_path / "x").read_bytes())
    for expected, array in zip(given.values(), (found["a"]["b"]["kernel"], found["a"]["scale"], found["c"]), strict=True):
        assert array.dtype == expected.dtype and np.array_equal(array, expected)


def test_numbers_stay_in_the_file(tmp_path):
    """3 GiB that take no room on the disk, and none in memory."""
    size = 3 * 2**30
    shape = msgpack.packb((size // 4,)) + msgpack.packb("float32")
    head = b"\x81\xa1w\xc9" + struct.pack(">I", 1 + len(shape) + 5 + size) + b"\x01\x93" + shape + b"\xc6" + struct.pack(">I", size)
    with (tmp_path / "x").open("wb") as file:
        file.write(head)
        file.truncate(len(head) + size)
    with within(1):
        tensor = read_flax(tmp_path / "x").tensors["w"]
        assert tensor.size == size // 4 and np.asarray(tensor)[-1] == 0


def array(shape=(2, 3), kind="float32", numbers=bytes(24), code=1, after=b""):
    return msgpack.ExtType(code, msgpack.packb((shape, kind, numbers)) + after)


def pairs(*entries):
    """A map whose names may come twice or be of any type."""
    return msgpack.Packer().pack_map_pairs(entries)


def described(shape, kind="float32", numbers=bytes(24)):
    return pairs(("w", array(shape, kind, numbers)))


WHOLE = msgpack.packb({"a": {"kernel": array()}, "b": array((), "int8", b"\0"), "c": array((40,), "int8", bytes(40))})
NO_ARRAY, NO_NAME = "which is no array of numbers", "which is no name"

HOSTILE = {
    "other extension": (pairs(("w", array(code=2))), "w is no array"),
    "timestamp": (pairs(("w", msgpack.Timestamp(1, 2))), "w is no array"),
    "number": (pairs(("w", 1.0)), "w is neither an array nor a map"),
    "list": (pairs(("w", [array()])), "w is neither an array nor a map"),
    "text": (pairs(("w", "text")), "w is neither an array nor a map"),
    "huge text": (pairs(("w", 0))[:-1] + b"\xdb\xff\xff\xff\xff", "w is neither an array nor a map"),
    "unknown type": (described((2, 3), "float31"), NO_ARRAY),
    "objects": (described((2, 3), "object"), NO_ARRAY),
    "fields": (described((2, 3), "f4,f4"), NO_ARRAY),
    "type that is a list": (described((2, 3), ["float32"]), NO_ARRAY),
    "type with terminal codes": (described((2, 3), "\x1b[2J\n"), NO_ARRAY),
    "endless type": (described((2, 3), "f" * 900), NO_ARRAY),
    "negative shape": (described((-2, 3)), NO_ARRAY),
    "two negative lengths": (described((-2, -3)), NO_ARRAY),
    "fraction in a shape": (described((2.0, 3)), NO_ARRAY),
    "NaN in a shape": (described((float("nan"), 3)), NO_ARRAY),
    "truth in a shape": (described((True, 6)), NO_ARRAY),
    "number as shape": (described(6), NO_ARRAY),
    "text as shape": (described("23"), NO_ARRAY),
    "huge shape": (described((2**31 - 1, 2**20)), "does not hold the 2,251,799,812,636,672 numbers"),
    "shape beyond all arrays": (described((2**31 - 1,) * 3), "no array of float32 has the shape"),
    "empty shape beyond all arrays": (described((0, 2**31 - 1, 2**31 - 1), numbers=b""), "no array of float32 has the shape"),
    "length beyond all": (described((2**64 - 1,)), NO_ARRAY),
    "many axes": (described((1,) * 500, numbers=bytes(4)), NO_ARRAY),
    "too few numbers": (described((2, 3), numbers=bytes(20)), "does not hold the 6 numbers"),
    "too many numbers": (described((2, 3), numbers=bytes(28)), "does not hold the 6 numbers"),
    "numbers that are text": (described((2, 3), numbers="0" * 24), "does not hold the 6 numbers"),
    "numbers that are a list": (described((2, 3), numbers=[0] * 6), "does not hold the 6 numbers"),
    "more behind the numbers": (pairs(("w", array(after=b"\0"))), "does not hold the 6 numbers"),
    "description that fills the array": (
        b"\x81\xa1w\xc7\x0b\x01\x93\x90\xa7float32" + b"\xc4\x04" + bytes(4),
        "does not hold the 1 numbers",
    ),
    "two parts": (pairs(("w", msgpack.ExtType(1, msgpack.packb(((2, 3), "float32"))))), "is no array|damaged"),
    "no parts": (pairs(("w", msgpack.ExtType(1, b""))), "damaged"),
    "number instead of parts": (pairs(("w", msgpack.ExtType(1, b"\x07" * 40))), "damaged"),
    "deep shape": (pairs(("w", msgpack.ExtType(1, b"\x93" + b"\x91" * 2_000))), "damaged"),
    "map with one hash as shape": (pairs(("w", array({str(n): n for n in range(99)}))), NO_ARRAY),
    "length that lies": (WHOLE.replace(b"\xc4\x28", b"\xc4\x29"), "c does not hold the 40 numbers"),
    "array beyond the end": (b"\x81\xa1w\xc9\xff\xff\xff\xff\x01", "w ends at byte 4,294,967,304, and the file has only 9"),
    "name twice": (pairs(("w", array()), ("w", array())), "it holds w twice"),
    "map twice": (pairs(("w", {"a": array()}), ("w", {"b": array()})), "it holds w twice"),
    "array and map of one name": (pairs(("w", array()), ("w", {"b": array()})), "it holds w twice"),
    "number as name": (pairs((1, array())), "a name in it is no text"),
    "bytes as name": (pairs((b"w", array())), "a name in it is no text"),
    "nothing as name": (pairs((None, array())), "a name in it is no text"),
    "empty name": (pairs(("", array())), "a name in it is 0 bytes long"),
    "endless name": (pairs(("w" * 100_000, array())), "a name in it is 100,000 bytes long"),
    "names that add up": (msgpack.packb({"n" * 900: {"n" * 900: array()}}), NO_NAME),
    "huge name": (b"\x81\xdb\xff\xff\xff\xff", "a name in it is 4,294,967,295 bytes long"),
    "slash in a name": (pairs(("a/b", array()), ("a", {"b": array()})), "read as one map in another"),
    "terminal codes in a name": (pairs(("a\x1b[2Jb", array())), NO_NAME),
    "name that is no UTF-8": (b"\x81\xa1\xff" + msgpack.packb(array()), "damaged"),
    "100,000 nested maps": (b"\x81\xa1a" * 100_000, "more than 32 maps deep"),
    "huge map": (b"\xdf\xff\xff\xff\xff\xa1a" + msgpack.packb(array()), "ends in the middle"),
    "huge nested maps": (b"\xdf\xff\xff\xff\xff\xa1a" * 20, "ends in the middle"),
    "nothing in it": (msgpack.packb({"a": {}, "b": {"c": {}}}), "does not hold exactly one set"),
    "something behind it": (WHOLE + b"\0", "does not hold exactly one set"),
    "two sets": (WHOLE + WHOLE, "does not hold exactly one set"),
    "list of maps": (msgpack.packb([{"a": array()}]), "it is neither an array nor a map"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files(kind, tmp_path):
    content, reason = HOSTILE[kind]
    (tmp_path / "x.msgpack").write_bytes(content)
    assert_refused(read_flax, tmp_path / "x.msgpack", reason)


def test_names_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(flax_file, "MOST_NAMES", 100)
    given = {str(number): {} for number in range(99)} | {"w": array()}
    (tmp_path / "x").write_bytes(msgpack.packb(given))
    assert list(read_flax(tmp_path / "x").tensors) == ["w"]
    (tmp_path / "x").write_bytes(msgpack.packb({"more": given}))
    assert_refused(read_flax, tmp_path / "x", "more than 100 arrays and maps")


def test_the_whole_file_is_read_and_no_part_of_it(tmp_path):
    path = tmp_path / "x.msgpack"
    assert not refuses(read_flax, path, WHOLE)
    assert [end for end in range(len(WHOLE)) if not refuses(read_flax, path, WHOLE[:end])] == []

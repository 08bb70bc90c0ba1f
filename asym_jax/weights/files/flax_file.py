"""Reads and writes the msgpack files of Flax, such as diffusion_flax_model.msgpack.

The file is one map of maps, nested as the parameters are. Each array is an
"extension" of type 1 that holds a msgpack of its own: (shape, name of the
type, numbers). Only the headers are read here; the numbers stay in the file.
"""

import io
import struct
from pathlib import Path

import ml_dtypes  # noqa: F401  (teaches numpy the name "bfloat16")
import msgpack
import numpy as np
from flax.serialization import msgpack_serialize
from flax.traverse_util import unflatten_dict

from asym_jax.errors import InputError
from asym_jax.weights.convert import Tensors
from asym_jax.weights.files.stored import LONGEST_NAME, MOST_AXES, StoredTensor, TensorFile, check_name, contiguous

ARRAY = 1
"""Flax's number for the extension that is an array."""

# First byte -> format of the length that follows (https://github.com/msgpack/msgpack/blob/master/spec.md).
LONG_MAP = {0xDE: ">H", 0xDF: ">I"}
LONG_TEXT = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
LONG_EXTENSION = {0xC7: ">B", 0xC8: ">H", 0xC9: ">I"}
NUMBERS = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}
FIXED_EXTENSION = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}

MOST_NAMES = 20_000
"""Arrays and maps; more would only fill the memory."""
DEEPEST = 32
DESCRIPTION = 1024
"""Bytes that shape and name of the type of an array certainly fit into."""

FLOATS = ("float64", "float32", "float16", "bfloat16")
WHOLE = ("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8")
TYPES = frozenset((*FLOATS, *WHOLE, "bool"))


def read_flax(path: Path) -> TensorFile:
    """The arrays of a Flax msgpack file, in our layout under names like `decoder/conv_in/kernel`.

    Raises:
        InputError: the file is damaged or truncated, or holds something else than nested maps of arrays.
    """
    try:
        with path.open("rb") as file:
            reader = _Reader(path, file)
            tensors = reader.maps()
            if not tensors or reader.rest():
                raise InputError("it does not hold exactly one set of named arrays")
    except InputError as error:
        raise InputError(f"{path} cannot be used: {error}") from None
    except (OSError, ValueError, TypeError, struct.error, msgpack.UnpackException) as error:
        raise InputError(f"{path} is damaged, incomplete, or no Flax msgpack file ({error})") from error
    return TensorFile("Flax msgpack", tensors)


def write_flax(path: Path, tensors: Tensors) -> None:
    """Writes arrays that are named like `decoder/conv_in/kernel` and are in our layout."""
    nested = unflatten_dict({tuple(name.split("/")): np.asarray(tensor, order="C") for name, tensor in tensors.items()})
    path.write_bytes(msgpack_serialize(nested, in_place=True))


class _Reader:
    """Walks over the headers of an open file."""

    def __init__(self, path: Path, file: io.BufferedReader) -> None:
        self.path = path
        self.file = file
        self.size = path.stat().st_size

    def maps(self) -> dict[str, StoredTensor]:
        """All arrays of the map that begins here, and of the maps in it; a loop, so that no nesting is too deep for Python."""
        tensors: dict[str, StoredTensor] = {}
        names: set[str] = set()
        open_maps = [("", self._entries(self._byte()))]
        while open_maps:
            prefix, left = open_maps.pop()
            if not left:
                continue
            open_maps.append((prefix, left - 1))
            name = self._name(prefix)
            if name in names:
                raise InputError(f"it holds {name} twice")
            names.add(name)
            if len(names) > MOST_NAMES:
                raise InputError(f"it holds more than {MOST_NAMES:,} arrays and maps")
            first = self._byte()
            if first in LONG_EXTENSION or first in FIXED_EXTENSION:
                tensors[name] = self._array(name, first)
            elif len(open_maps) >= DEEPEST:
                raise InputError(f"{name} lies more than {DEEPEST} maps deep")
            else:
                open_maps.append((f"{name}/", self._entries(first, name)))
        return tensors

    def rest(self) -> bool:
        """Whether anything follows."""
        return self.file.tell() != self.size

    def _take(self, count: int) -> bytes:
        taken = self.file.read(count)
        if len(taken) != count:
            raise ValueError("it ends in the middle")
        return taken

    def _byte(self) -> int:
        return self._take(1)[0]

    def _number(self, form: str) -> int:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _entries(self, first: int, name: str = "it") -> int:
        if 0x80 <= first <= 0x8F:
            return first - 0x80
        if first not in LONG_MAP:
            raise InputError(f"{name} is neither an array nor a map of named arrays (it begins with byte {first:#04x})")
        return self._number(LONG_MAP[first])

    def _name(self, prefix: str) -> str:
        first = self._byte()
        if 0xA0 <= first <= 0xBF:
            length = first - 0xA0
        elif first in LONG_TEXT:
            length = self._number(LONG_TEXT[first])
        else:
            raise InputError(f"a name in it is no text (it begins with byte {first:#04x})")
        if not 0 < length <= LONGEST_NAME:
            raise InputError(f"a name in it is {length:,} bytes long")
        name = self._take(length).decode("utf-8")
        if "/" in name:
            raise InputError(f"a tensor in it is called {name[:80]!r}, which would be read as one map in another")
        check_name(prefix + name)
        return prefix + name

    def _array(self, name: str, first: int) -> StoredTensor:
        length = FIXED_EXTENSION[first] if first in FIXED_EXTENSION else self._number(LONG_EXTENSION[first])
        if self._byte() != ARRAY:
            raise InputError(f"{name} is no array")
        begin, end = self.file.tell(), self.file.tell() + length
        if end > self.size:
            raise InputError(f"{name} ends at byte {end:,}, and the file has only {self.size:,}: it is incomplete")
        shape, kind, header = _describe(name, self._take(min(length, DESCRIPTION)))
        self.file.seek(begin + header)
        form = NUMBERS.get(self._byte())
        announced = self._number(form) if form else -1
        tensor = contiguous(self.path, self.file.tell(), np.dtype(kind), shape)
        if announced != tensor.size * tensor.dtype.itemsize or tensor.start + announced != end:
            raise InputError(f"{name} does not hold the {tensor.size:,} numbers that its shape {shape} asks for")
        self.file.seek(end)
        return tensor


def _describe(name: str, content: bytes) -> tuple[tuple[int, ...], str, int]:
    """Shape, name of the type, and the byte at which the numbers' header begins."""
    unpacker = msgpack.Unpacker(max_buffer_size=DESCRIPTION)
    unpacker.feed(content)
    parts = unpacker.read_array_header()
    shape, kind = unpacker.unpack(), unpacker.unpack()
    kind = kind.decode() if isinstance(kind, bytes) else kind
    whole = isinstance(shape, list) and len(shape) <= MOST_AXES and all(type(n) is int and 0 <= n < 2**31 for n in shape)
    if parts != 3 or not whole or not isinstance(kind, str) or kind not in TYPES:
        said = f"shape {repr(shape)[:80]} and type {repr(kind)[:80]}"
        raise InputError(f"{name} is described by {said}, which is no array of numbers")
    return tuple(shape), kind, unpacker.tell()

"""PyTorch files put together byte by byte, so that any part of them can lie.

`whole_zip` and `whole_legacy` are valid (a test lets torch read them); the other
functions give the parts, as torch writes them.
"""

import dataclasses
import pickle
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

STOP = pickle.STOP
PROTOCOL = b"\x80\x02"
NUMBERS = {"0": np.arange(6, dtype=np.float32), "1": np.arange(4, dtype=np.int64)}
"""The storages of the whole files, by key."""


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def integer(value: int) -> bytes:
    content = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def tuple_of(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def integers(values: Sequence[int]) -> bytes:
    return tuple_of(*[integer(value) for value in values])


def storage(key: str = "0", kind: str = "FloatStorage", count: int = 6, *rest: bytes) -> bytes:
    """A reference to a storage; `rest` may be the None that legacy files add."""
    return tuple_of(text("storage"), name("torch", kind), text(key), text("cpu"), integer(count), *rest) + b"Q"


ORDERED_DICT = name("collections", "OrderedDict") + b")R"
REBUILD = name("torch._utils", "_rebuild_tensor_v2")


def tensor(
    of: bytes = b"", offset: bytes = b"K\x00", shape: bytes = integers((2, 3)), strides: bytes = integers((3, 1)), *rest: bytes
) -> bytes:
    """The call that rebuilds a tensor; every argument is pickled already."""
    return REBUILD + tuple_of(of or storage(), offset, shape, strides, b"\x89", ORDERED_DICT, *rest) + b"R"


def state_dict(**entries: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def pickled(body: bytes) -> bytes:
    return PROTOCOL + body + STOP


def whole_pickle(*rest: bytes) -> bytes:
    """A dict with a tensor of either storage, and one that shows the first turned around."""
    counts = tuple_of(integer(4))
    return pickled(
        state_dict(
            first=tensor(storage("0", "FloatStorage", 6, *rest)),
            turned=tensor(storage("0", "FloatStorage", 6, *rest), b"K\x00", integers((3, 2)), integers((1, 3))),
            second=tensor(storage("1", "LongStorage", 4, *rest), b"K\x00", counts, tuple_of(integer(1))),
        )
    )


@dataclasses.dataclass
class Entry:
    """An entry of a zip file, and what is said about it."""

    name: str
    content: bytes
    method: int = 0
    flags: int = 0x0808
    listed_size: int | None = None
    listed_packed: int | None = None
    listed_start: int | None = None
    following_size: int | None = None

    def local(self) -> bytes:
        header = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 0, self.flags, self.method, 0, 0, 0, 0, 0, len(self.name), 0)
        following = len(self.content) if self.following_size is None else self.following_size
        checked = struct.pack("<4sIII", b"PK\x07\x08", zlib.crc32(self.content), following, following)
        return header + self.name.encode() + self.content + checked

    def listed(self, start: int) -> bytes:
        size = len(self.content) if self.listed_size is None else self.listed_size
        packed = size if self.listed_packed is None else self.listed_packed
        start = start if self.listed_start is None else self.listed_start
        sizes = (zlib.crc32(self.content), packed, size, len(self.name), 0, 0, 0, 0, 0, start)
        return struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 0, 0, self.flags, self.method, 0, 0, *sizes) + self.name.encode()


def zip_bytes(entries: Sequence[Entry], *, count: int | None = None, moved: int = 0) -> bytes:
    """A zip file with the 64-bit records that torch always writes.

    `count` and `moved` falsify the number of entries and the place of their list.
    """
    content, starts = b"", []
    for entry in entries:
        starts.append(len(content))
        content += entry.local()
    listed = b"".join(entry.listed(start) for entry, start in zip(entries, starts, strict=True))
    count = len(entries) if count is None else count
    place = (count, count, len(listed), len(content) + moved)
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 0, 45, 0, 0, *place)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(content) + len(listed), 1)
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, min(count, 0xFFFF), min(count, 0xFFFF), *place[2:], 0)
    return content + listed + record + locator + end


def zip_entries(content: bytes | None = None) -> list[Entry]:
    """The entries of a whole file, with another pickle if one is given."""
    data = [Entry(f"file/data/{key}", numbers.tobytes()) for key, numbers in NUMBERS.items()]
    return [
        Entry("file/data.pkl", whole_pickle() if content is None else content),
        Entry("file/byteorder", b"little"),
        *data,
        Entry("file/version", b"3\n"),
    ]


def whole_zip() -> bytes:
    return zip_bytes(zip_entries())


MAGIC = pickled(integer(0x1950A86A20F9469CFC6C))
VERSION = pickled(integer(1001))
MACHINE = pickled(state_dict(protocol_version=integer(1001), little_endian=b"\x88", type_sizes=b"}"))


def storage_list(*keys: str) -> bytes:
    return pickled(b"](" + b"".join(text(key) for key in keys) + b"e")


def legacy_storage(key: str, count: int | None = None) -> bytes:
    return struct.pack("<q", NUMBERS[key].size if count is None else count) + NUMBERS[key].tobytes()


def legacy_bytes(content: bytes | None = None, keys: Sequence[str] = ("0", "1")) -> bytes:
    """A whole legacy file, with another pickle if one is given, which refers to these storages."""
    content = whole_pickle(b"N") if content is None else content
    return MAGIC + VERSION + MACHINE + content + storage_list(*keys) + b"".join(legacy_storage(key) for key in keys)


def whole_legacy() -> bytes:
    return legacy_bytes()


def write(folder: Path, content: bytes, called: str = "file.bin") -> Path:
    path = folder / called
    path.write_bytes(content)
    return path

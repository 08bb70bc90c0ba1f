"""Where the entries of a zip file lie, for files that only store and never compress.

Everything that a zip file says, it says twice; here both must agree, so that a
file has one meaning. The layout is that of PKWARE's APPNOTE.TXT, sections 4.3
and 4.5, with the records for files beyond 4 GiB.
"""

import dataclasses
import itertools
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from asym_jax.errors import InputError
from asym_jax.weights.files.pickle_machine import Bytes
from asym_jax.weights.files.pickled_values import Damaged, shown

MOST_ENTRIES = 100_000
LONGEST_DIRECTORY = 32 * 2**20

_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_END = struct.Struct("<4sHHHHIIH")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR64 = struct.Struct("<4sIQI")

_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_SIZES_FOLLOW = 0x0008  # after the content, in a descriptor
_ELSEWHERE = 0xFFFFFFFF  # in the extra field with the identity 1


class Extent(NamedTuple):
    """A stretch of a file, in bytes."""

    start: int
    size: int


@dataclasses.dataclass(frozen=True)
class _Entry:
    name: bytes
    flags: int
    size: int
    header: int


def find_entries(data: Bytes) -> dict[str, Extent]:
    """Where the content of each entry lies, by name.

    Raises:
        InputError: an entry is compressed, encrypted or has a name that leads
            elsewhere, or there are more than torch writes.
        Damaged: the file is no whole zip file, or contradicts itself.
    """
    directory, count = _find_directory(data)
    entries, found, taken = list(_listed(data, directory, count)), {}, []
    for entry in entries:
        name = _checked_name(entry.name)
        if name in found:
            raise InputError(f"it has two entries of the name {shown(name)}")
        found[name], end = _locate(data, entry, directory.start)
        taken.append((entry.header, end))
    for (_, end), (header, _) in itertools.pairwise(sorted(taken)):
        if header < end:
            raise Damaged(f"the zip entries before and at byte {header:,} overlap")
    return found


def _find_directory(data: Bytes) -> tuple[Extent, int]:
    end = len(data) - _END.size
    signature, *disks, here, count, size, start, comment = _unpack(_END, data, end)
    if signature != b"PK\x05\x06" or comment:
        raise Damaged("it does not end as zip files of torch.save do")
    locator = end - _LOCATOR64.size
    if locator >= 0 and data[locator : locator + 4] == b"PK\x06\x07":
        stated, end = (count, size, start), locator - _END64.size
        _, _, _, _, *disks, here, count, size, start = _directory64(data, locator, end)
        if any(short not in (long, 0xFFFF, _ELSEWHERE) for short, long in zip(stated, (count, size, start), strict=True)):
            raise Damaged("its two descriptions of the list of entries differ")
    if any(disks) or here != count or start + size != end:
        raise Damaged("its list of entries is not where it should be")
    if count > MOST_ENTRIES or size > LONGEST_DIRECTORY:
        most = f"{MOST_ENTRIES:,} in {LONGEST_DIRECTORY:,}"
        raise InputError(f"it has {count:,} entries, listed in {size:,} bytes; up to {most} are read")
    return Extent(start, size), count


def _directory64(data: Bytes, locator: int, end: int) -> tuple:
    _, disk, record, disks = _LOCATOR64.unpack_from(data, locator)
    fields = _unpack(_END64, data, end)
    if (disk, record, disks) != (0, end, 1) or fields[:2] != (b"PK\x06\x06", _END64.size - 12):
        raise Damaged("the record of its 64-bit sizes is not where it should be")
    return fields


def _listed(data: Bytes, directory: Extent, count: int) -> Iterator[_Entry]:
    position, end = directory.start, directory.start + directory.size
    for _ in range(count):
        fields = _unpack(_CENTRAL, data, position)
        signature, _, _, flags, method, _, _, _, packed, size, name, extra, comment, _, _, _, header = fields
        name_start = position + _CENTRAL.size
        extra_start = name_start + name
        position = extra_start + extra + comment
        if signature != b"PK\x01\x02" or position > end:
            raise Damaged("its list of entries is damaged")
        if flags & _ENCRYPTED:
            raise InputError("it is an encrypted zip file, which torch.save never writes")
        if method:
            raise InputError("it is a compressed zip file, which torch.save never writes")
        size, packed, header = _long_values([size, packed, header], data[extra_start : extra_start + extra])
        if packed != size:
            raise Damaged("an entry is stored with another size than its own")
        yield _Entry(data[name_start:extra_start], flags, size, header)
    if position != end:
        raise Damaged("its list of entries is longer than its entries")


def _long_values(values: list[int], extra: bytes) -> list[int]:
    """The values, those that do not fit into 32 bits from the extra field, where they stand in the same order."""
    missing = [place for place, value in enumerate(values) if value == _ELSEWHERE]
    position = 0
    while missing and position + 4 <= len(extra):
        identity, size = struct.unpack_from("<HH", extra, position)
        if identity == 1 and 8 * len(missing) <= size <= len(extra) - position - 4:
            longs = struct.unpack_from(f"<{len(missing)}Q", extra, position + 4)
            replaced = dict(zip(missing, longs, strict=True))
            return [replaced.get(place, value) for place, value in enumerate(values)]
        position += 4 + size
    if missing:
        raise Damaged("the 64-bit size of an entry is missing")
    return values


def _locate(data: Bytes, entry: _Entry, limit: int) -> tuple[Extent, int]:
    """Where the content lies, and where the next entry may begin."""
    signature, _, flags, method, _, _, _, packed, size, name, extra = _unpack(_LOCAL, data, entry.header)
    name_start = entry.header + _LOCAL.size
    start = name_start + name + extra
    end = start + entry.size
    own_name = data[name_start : name_start + name]
    if signature != b"PK\x03\x04" or (flags, method, own_name) != (entry.flags, 0, entry.name) or end > limit:
        raise Damaged(f"zip entry {shown(_text(entry.name))} is not where the list of entries says")
    follows = bool(flags & _SIZES_FOLLOW)
    if any(value not in (entry.size, _ELSEWHERE) and not (follows and value == 0) for value in (packed, size)):
        raise Damaged(f"zip entry {shown(_text(entry.name))} has two different sizes")
    if follows:
        end = _after_descriptor(data, entry, end)
    if end > limit:
        raise Damaged(f"zip entry {shown(_text(entry.name))} reaches into the list of entries")
    return Extent(start, entry.size), end


def _after_descriptor(data: Bytes, entry: _Entry, start: int) -> int:
    # The checksum in it is not compared: it would mean to read all numbers, and torch can be told to leave it out.
    for form in ("<4s4xII", "<4s4xQQ"):
        layout = struct.Struct(form)
        found = data[start : start + layout.size]
        if len(found) == layout.size and layout.unpack(found) == (b"PK\x07\x08", entry.size, entry.size):
            return start + layout.size
    raise Damaged(f"zip entry {shown(_text(entry.name))} is not followed by its size")


def _checked_name(written: bytes) -> str:
    name = _text(written)
    if not name or name.startswith("/") or re.search(r"(^|/)\.\.?(/|$)|\\|\0|^[A-Za-z]:", name):
        raise InputError(f"it has a zip entry of the name {shown(name)}, which leads out of the file")
    return name


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape").encode("utf-8", "backslashreplace").decode("utf-8")


def _unpack(layout: struct.Struct, data: Bytes, position: int) -> tuple:
    if not 0 <= position <= len(data) - layout.size:
        raise Damaged("a part of its list of entries lies outside the file")
    return layout.unpack_from(data, position)

"""The files of `torch.save` before PyTorch 1.6: five pickles, then the storages one after the other."""

import struct

from asym_jax.errors import InputError
from asym_jax.weights.files.pickle_machine import Bytes
from asym_jax.weights.files.pickled_values import Damaged, PickledDict, shown
from asym_jax.weights.files.torch_archive import Archive
from asym_jax.weights.files.unpickler import Unpickled, unpickle

START = b"\x80"
MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001


def read_legacy(data: Bytes) -> Archive:
    """What the file describes, and where its numbers lie.

    Raises:
        InputError, Damaged: as `unpickle` does; or the pickles are not those of
            torch.save, or the storages not those of the pickles.
    """
    magic = unpickle(data)
    if type(magic.value) is not int or magic.value != MAGIC:
        raise InputError("it is a pickle, but does not begin as those of torch.save do")
    version = unpickle(data, magic.end)
    if type(version.value) is not int or version.value != VERSION:
        raise InputError(f"it has version {shown(version.value)} of the format, and only {VERSION} is known")
    machine = unpickle(data, version.end)
    if not _is_little_endian(machine.value):
        raise InputError("it was saved on a big-endian machine")
    described = unpickle(data, machine.end)
    keys = unpickle(data, described.end)
    return Archive("PyTorch (legacy)", described.value, _find_storages(data, described, keys))


def _is_little_endian(machine: object) -> bool:
    if not isinstance(machine, PickledDict):
        raise Damaged("it does not describe the machine that it was saved on")
    return ("little_endian", True) in [entry for entry in machine.entries if isinstance(entry, tuple)]


def _find_storages(data: Bytes, described: Unpickled, keys: Unpickled) -> dict[str, int]:
    """The first byte of each storage, by key."""
    listed = keys.value
    if not isinstance(listed, list) or not all(isinstance(key, str) for key in listed):
        raise Damaged("the list of its storages is missing")
    if len(set(listed)) != len(listed) or set(listed) != set(described.storages):
        raise Damaged(f"it lists {len(listed):,} storages, and its tensors refer to {len(described.storages):,}, or to others")
    starts, position = {}, keys.end
    for key in listed:
        storage = described.storages[key]
        if position + 8 > len(data):
            raise Damaged(f"it ends before storage {shown(key)}")
        (count,) = struct.unpack_from("<q", data, position)
        if count != storage.count:
            raise Damaged(f"storage {shown(key)} holds {count} numbers, and {shown(storage.count)} were announced")
        starts[key] = position + 8
        position += 8 + storage.bytes
        if position > len(data):
            raise Damaged(f"storage {shown(key)} ends at byte {position:,}, and the file has only {len(data):,}")
    if position != len(data):
        raise Damaged(f"it goes on for {len(data) - position:,} bytes after its last storage")
    return starts

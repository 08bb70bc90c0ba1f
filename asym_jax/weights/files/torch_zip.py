"""The zip files of `torch.save` in PyTorch 1.6 and later: a pickle, and one entry of raw numbers for each storage."""

from asym_jax.errors import InputError
from asym_jax.weights.files.pickle_machine import LONGEST, Bytes
from asym_jax.weights.files.pickled_values import Damaged, shown
from asym_jax.weights.files.torch_archive import Archive
from asym_jax.weights.files.unpickler import unpickle
from asym_jax.weights.files.zip_entries import find_entries

START = b"PK\x03\x04"


def read_zip(data: Bytes) -> Archive:
    """What the file describes, and where its numbers lie.

    Raises:
        InputError, Damaged: as `unpickle` and `find_entries` do; or the entries are
            not those of torch.save.
    """
    entries = find_entries(data)
    indices = [name for name in entries if name.endswith("/data.pkl")]
    if len(indices) != 1:
        raise InputError(f"it is a zip file, but not one of torch.save: {len(indices)} entries are called data.pkl")
    root = indices[0].removesuffix("data.pkl")
    order = entries.get(f"{root}byteorder")
    if order is not None and data[order.start : order.start + min(order.size, 10)] != b"little":
        raise InputError("it was saved on a big-endian machine")
    described = entries[indices[0]]
    if described.size > LONGEST:
        raise InputError(f"its data.pkl has {described.size:,} bytes, and up to {LONGEST // 2**20} MiB are read")
    found = unpickle(data[described.start : described.start + described.size])
    if found.end != described.size:
        raise Damaged(f"its data.pkl goes on for {described.size - found.end:,} bytes after the end of the pickle")
    starts = {}
    for key, storage in found.storages.items():
        extent = entries.get(f"{root}data/{key}")
        if extent is None:
            raise Damaged(f"storage {shown(key)} is missing")
        if extent.size != storage.bytes:
            raise Damaged(f"storage {shown(key)} has {extent.size:,} bytes, and {storage.bytes:,} were announced")
        starts[key] = extent.start
    return Archive("PyTorch (zip)", found.value, starts)

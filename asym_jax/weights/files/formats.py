"""Which kind of file a file of weights is, told from how it begins."""

from collections.abc import Callable, Mapping
from pathlib import Path

from asym_jax.errors import InputError
from asym_jax.weights.files.flax_file import read_flax
from asym_jax.weights.files.safetensors_file import read_safetensors
from asym_jax.weights.files.sharded import read_sharded
from asym_jax.weights.files.stored import TensorFile
from asym_jax.weights.files.torch_pickle import read_torch
from asym_jax.weights.sources.file_names import INDEX

Reader = Callable[[Path], TensorFile]

ZIP = b"PK"
PICKLE = b"\x80"
MAPS = tuple(bytes([first]) for first in (*range(0x81, 0x90), 0xDE, 0xDF))
OTHERS: Mapping[bytes, str] = {
    b"version https://git-lfs": "it is a pointer of git-lfs, not the file itself; run `git lfs pull` where it came from",
    b"<": "it is a web page, not weights; what was downloaded was perhaps a login or an error page",
    b"\x1f\x8b": "it is compressed with gzip; unpack it first",
    b"\x89HDF": "it is an HDF5 file, which is not read",
}
"""What people have instead of weights, by how it begins."""


def read_tensors(path: Path) -> TensorFile:
    """What is in a file of weights: safetensors, PyTorch (zip or legacy), Flax msgpack, or the index of several of them.

    Only headers are read, and nothing in the file is run.

    Raises:
        InputError: the file is absent, damaged, of another kind, or names code to run.
    """
    if path.name.endswith(INDEX):
        return read_sharded(path, _read_one)
    return _read_one(path)


def _read_one(path: Path) -> TensorFile:
    return _reader(path)(path)


def _reader(path: Path) -> Reader:
    try:
        if not path.is_file():  # whoever reads a pipe may wait for ever
            raise InputError(f"{path} is no file")
        with path.open("rb") as file:
            begin = file.read(64)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not begin:
        raise InputError(f"{path} is empty")
    if begin[8:9] == b"{":  # after the length of the description
        return read_safetensors
    if begin.startswith((ZIP, PICKLE)):
        return read_torch
    for start, reason in OTHERS.items():
        if begin.lstrip().startswith(start):
            raise InputError(f"{path} cannot be used: {reason}")
    if begin.startswith(MAPS):
        return read_flax
    raise InputError(f"{path} is no safetensors, PyTorch or Flax msgpack file (it begins with {begin[:8]!r})")

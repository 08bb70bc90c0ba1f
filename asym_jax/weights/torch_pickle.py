"""Reads what `torch.save` wrote, without torch, and without running anything that is in the file.

Both containers are read: the zip file of PyTorch 1.6 and later, and the older
sequence of pickles followed by raw numbers.
"""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from asym_jax.errors import InputError
from asym_jax.weights.convert import Tensor
from asym_jax.weights.unpickler import DTYPES, Description, Storage, Unpickler

ZIP_START = b"PK\x03\x04"
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


def read_torch(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict saved with `torch.save`, read-only, in the types that they were saved in.

    Raises:
        InputError: the file is damaged or truncated, holds something else than
            named tensors, or names code to run.
    """
    try:
        with path.open("rb") as file:
            is_zip = file.read(len(ZIP_START)) == ZIP_START
            file.seek(0)
            tensors, data = _read_zip(file) if is_zip else _read_legacy(file)
            return {name: _array(tensor, data[tensor.storage.key]) for name, tensor in tensors.items()}
    except InputError as error:
        raise InputError(f"{path} cannot be used: {error}") from None
    except Exception as error:  # damaged bytes make pickle, zipfile and numpy raise nearly anything
        raise InputError(f"{path} is damaged, incomplete, or no PyTorch file ({type(error).__name__}: {error})") from error


def _read_zip(file: io.BufferedReader) -> tuple[dict[str, Description], dict[str, Tensor]]:
    with zipfile.ZipFile(file) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise InputError("it is a compressed zip file, which torch.save never writes")
        indices = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(indices) != 1:
            raise InputError("it is a zip file, but not one of torch.save")
        root = indices[0].removesuffix("data.pkl")
        if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
            raise InputError("it was saved on a big-endian machine")
        unpickler = Unpickler(io.BytesIO(archive.read(indices[0])))
        tensors = _named_tensors(unpickler.load())
        return tensors, {key: _numbers(archive.read(f"{root}data/{key}"), s) for key, s in unpickler.storages.items()}


def _read_legacy(file: io.BufferedReader) -> tuple[dict[str, Description], dict[str, Tensor]]:
    if Unpickler(file).load() != LEGACY_MAGIC:
        raise InputError("it does not begin as files of torch.save do")
    _version, machine = Unpickler(file).load(), Unpickler(file).load()
    if not machine["little_endian"]:
        raise InputError("it was saved on a big-endian machine")
    unpickler = Unpickler(file)
    tensors = _named_tensors(unpickler.load())
    data = {}
    for key in Unpickler(file).load():
        storage = unpickler.storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.count:
            raise InputError(f"storage {key} holds {count} numbers, and {storage.count} were announced")
        data[key] = _numbers(file.read(count * DTYPES[storage.kind].itemsize), storage)
    return tensors, data


def _named_tensors(unpickled: Any) -> dict[str, Description]:
    if not isinstance(unpickled, dict):
        raise InputError(f"it holds a {type(unpickled).__name__}, and a dict of named tensors is expected")
    for name, value in dict.items(unpickled):
        if not isinstance(name, str) or not isinstance(value, Description):
            raise InputError(f"it holds {name!r}: {type(value).__name__}, and a dict of named tensors is expected")
    return dict(unpickled)


def _numbers(content: bytes, storage: Storage) -> Tensor:
    dtype = DTYPES[storage.kind]
    return np.frombuffer(content, dtype, storage.count) if storage.count else np.empty(0, dtype)  # raises if content is too short


def _array(tensor: Description, data: Tensor) -> Tensor:
    if 0 in tensor.shape:
        return np.empty(tensor.shape, data.dtype)
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
    if last >= data.size:
        raise InputError(f"a tensor of shape {tensor.shape} reaches beyond the end of storage {tensor.storage.key}")
    strides = [stride * data.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(data[tensor.offset :], tensor.shape, strides, writeable=False)

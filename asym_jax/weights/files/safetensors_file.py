"""Reads and writes safetensors files."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from asym_jax.errors import InputError
from asym_jax.weights.convert import Tensors
from asym_jax.weights.files.json_file import parse_json
from asym_jax.weights.files.stored import TensorFile, check_name, contiguous

DTYPES = {
    "F64": np.dtype("float64"),
    "F32": np.dtype("float32"),
    "F16": np.dtype("float16"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("int64"),
    "I32": np.dtype("int32"),
    "I16": np.dtype("int16"),
    "I8": np.dtype("int8"),
    "U64": np.dtype("uint64"),
    "U32": np.dtype("uint32"),
    "U16": np.dtype("uint16"),
    "U8": np.dtype("uint8"),
    "BOOL": np.dtype("bool"),
}

LENGTH = struct.Struct("<Q")
"""What a file begins with: the length of the JSON text that describes the tensors; their numbers follow it."""

LONGEST_TEXT = 16 * 2**20
"""Bytes; the text has some hundred bytes per tensor."""


def read_safetensors(path: Path) -> TensorFile:
    """The tensors of a safetensors file.

    Raises:
        InputError: the file is damaged or truncated, or holds types that are not `DTYPES`.
    """
    try:
        numbers, entries = _read_text(path)
        # The library finds everything else that can be wrong: lengths, gaps, overlaps, shapes that do not fit.
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
        entries.pop("__metadata__", None)
        unknown = sorted({entry["dtype"] for entry in entries.values()} - DTYPES.keys())
        if unknown:
            raise InputError(f"it holds numbers of type {', '.join(unknown)}; read are {', '.join(DTYPES)}")
        for name in entries:
            check_name(name)
        tensors = {
            name: contiguous(path, numbers + entry["data_offsets"][0], DTYPES[entry["dtype"]], tuple(entry["shape"]))
            for name, entry in entries.items()
        }
    except InputError as error:
        raise InputError(f"{path} cannot be used: {error}") from None
    except (SafetensorError, OSError, ValueError, struct.error, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{path} is damaged, incomplete, or no safetensors file ({reason})") from error
    return TensorFile("safetensors", tensors, metadata=metadata)


def write_safetensors(path: Path, tensors: Tensors, metadata: Mapping[str, str] | None = None) -> None:
    """Writes arrays that are in memory; readers of PyTorch expect the entry `format`, which is added."""
    arrays = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    save_file(arrays, path, {"format": "pt", **(metadata or {})})
    path.chmod(0o644)  # safetensors makes files that only their owner may read


def _read_text(path: Path) -> tuple[int, Any]:
    """Where the numbers begin, and what is said of them."""
    with path.open("rb") as file:
        (length,) = LENGTH.unpack(file.read(LENGTH.size))
        if length > LONGEST_TEXT:
            raise InputError(f"the description of its tensors has {length:,} bytes, more than {LONGEST_TEXT:,}")
        return LENGTH.size + length, parse_json(file.read(length))

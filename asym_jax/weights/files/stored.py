"""Arrays that are still in their file: what they are, and where their numbers lie."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from asym_jax.errors import InputError

MOST_AXES = 64
MOST_BYTES = 2**63
"""Of an array of numpy."""

LONGEST_NAME = 1_000


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """An array in a file. `numpy.asarray` maps its bytes into memory, read-only, for as long as that array lives.

    So a file of any size is read one tensor at a time: nobody holds two copies of it.
    The few methods that move axes are called as numpy's are.

    Attributes:
        start: byte of the file at which the first number stands.
        strides: numbers (not bytes) between neighbours along each axis; never negative.
    """

    path: Path
    start: int
    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        # numpy multiplies the lengths that are not 0, also of an array that has no numbers.
        if len(self.shape) > MOST_AXES or math.prod(filter(None, self.shape)) * self.dtype.itemsize >= MOST_BYTES:
            raise InputError(f"no array of {self.dtype} has the shape {str(self.shape)[:80]}")

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def end(self) -> int:
        """First byte of the file after its last number."""
        if 0 in self.shape:
            return self.start
        last = sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        return self.start + (last + 1) * self.dtype.itemsize

    def transpose(self, axes: tuple[int, ...]) -> "StoredTensor":
        """The same numbers with the axes in another order, as `numpy.ndarray.transpose` gives; nothing is read."""
        return self._with_axes(axes)

    def squeeze(self, axes: tuple[int, ...]) -> "StoredTensor":
        """The same numbers without these axes of length 1, as `numpy.ndarray.squeeze` gives; nothing is read."""
        assert all(self.shape[axis] == 1 for axis in axes)
        return self._with_axes(tuple(axis for axis in range(len(self.shape)) if axis not in axes))

    def _with_axes(self, axes: tuple[int, ...]) -> "StoredTensor":
        shape, strides = (tuple(old[axis] for axis in axes) for old in (self.shape, self.strides))
        return dataclasses.replace(self, shape=shape, strides=strides)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if 0 in self.shape:
            return np.empty(self.shape, dtype or self.dtype)
        # A mapping of its own, so that its pages are given back together with the array.
        count = (self.end - self.start) // self.dtype.itemsize
        mapped = np.memmap(self.path, self.dtype, "r", self.start, (count,))
        strides = [stride * self.dtype.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(mapped, self.shape, strides, writeable=False)
        return view if dtype is None and not copy else np.array(view, dtype)


def contiguous(path: Path, start: int, dtype: np.dtype, shape: tuple[int, ...]) -> StoredTensor:
    """A tensor whose numbers stand in the file one after the other, last axis fastest.

    Raises:
        InputError: there can be no array of this shape.
    """
    strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    return StoredTensor(path, start, dtype, shape, strides)


@dataclasses.dataclass(frozen=True)
class TensorFile:
    """What a reader found in a file.

    Attributes:
        format: what kind of file it is, in words.
        tensors: by the names in the file; nested names are joined by `.` (PyTorch) or `/` (Flax).
        left_out: entries of a training checkpoint that are not weights (`optimizer_states`, `epoch`, ...).
        metadata: text that the file carries beside the tensors.
    """

    format: str
    tensors: Mapping[str, StoredTensor]
    left_out: tuple[str, ...] = ()
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)


def check_name(name: str) -> None:
    """Raises InputError if `name` would spoil a message: it is empty, endless, or holds what cannot be seen."""
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise InputError(f"a tensor in it is called {name[:80]!r}, which is no name")

"""What a pickle of PyTorch can hold here: values that can do nothing."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

SHOWN = 80
"""Characters of a file's own words that a message repeats."""


class Damaged(Exception):
    """The bytes are not what `torch.save` writes; the message says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class StorageType:
    """A class such as torch.FloatStorage: the type of the numbers in a storage."""

    name: str
    dtype: np.dtype


@dataclasses.dataclass(frozen=True, slots=True)
class Storage:
    """A stretch of numbers in the file, which tensors are views of."""

    key: str
    kind: StorageType
    count: int

    @property
    def bytes(self) -> int:
        """Its length in the file."""
        return self.count * self.kind.dtype.itemsize


@dataclasses.dataclass(frozen=True, slots=True)
class Description:
    """A tensor whose numbers are still in the file. Offset and strides count numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclasses.dataclass(slots=True, eq=False)
class PickledDict:
    """A dict as the list of its entries, so that no key is ever hashed or compared: both can be made to take for ever."""

    entries: list[Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Placeholder:
    """Something of a training checkpoint that is not weights. Whatever is done to it, it stays a name."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Function:
    """A function of torch that a pickle may call, and what is done instead."""

    name: str
    call: Callable[[tuple[Any, ...]], Any]


def kind_of(value: Any) -> str:
    """What sort of thing a value of a pickle is, in a word."""
    match value:
        case PickledDict():
            return "dict"
        case Description():
            return "tensor"
        case Storage():
            return "storage"
        case Placeholder(name) | StorageType(name) | Function(name):
            return name
    return type(value).__name__


def shown(value: Any) -> str:
    """A value of a pickle for a message: one line and short, whatever it is; containers show their kind."""
    match value:
        case str():
            return repr(value[:SHOWN]) + "..." * (len(value) > SHOWN)
        case bool() | int() | float() | None:
            return repr(value)[:SHOWN]
        case tuple() if len(value) <= 8:
            return "(" + ", ".join(kind_of(each) if isinstance(each, tuple) else shown(each) for each in value) + ")"
    return kind_of(value)

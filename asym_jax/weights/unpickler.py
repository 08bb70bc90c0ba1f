"""Unpickles descriptions of PyTorch tensors, and nothing else.

A pickle is a program. This one may call nothing but `OrderedDict` and the
stand-ins for the functions of torch that describe a tensor.
"""

import io
import pickle
from collections import OrderedDict
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from asym_jax.errors import InputError

DTYPES = {
    "DoubleStorage": np.dtype("float64"),
    "FloatStorage": np.dtype("float32"),
    "HalfStorage": np.dtype("float16"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("int64"),
    "IntStorage": np.dtype("int32"),
    "ShortStorage": np.dtype("int16"),
    "CharStorage": np.dtype("int8"),
    "ByteStorage": np.dtype("uint8"),
    "BoolStorage": np.dtype("bool"),
}


class Storage(NamedTuple):
    """A stretch of numbers in the file, which tensors are views of."""

    key: str
    kind: str  # a key of DTYPES
    count: int


class Description(NamedTuple):
    """A tensor whose numbers are still in the file. Offset and strides count numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _DescribeTensor:
    """Stands for torch's `_rebuild_tensor` and `_rebuild_tensor_v2`.

    An object without attributes rather than a function: a pickle may assign to
    the attributes of whatever it can name.
    """

    __slots__ = ()

    def __call__(
        self,
        storage: Any,
        offset: Any,
        shape: Any,
        strides: Any,
        requires_grad: Any = False,
        hooks: Any = None,
        metadata: Any = None,
    ) -> Description:
        numbers = (offset, *shape, *strides)
        if not isinstance(storage, Storage) or len(shape) != len(strides) or any(type(n) is not int or n < 0 for n in numbers):
            raise InputError("a tensor in it is described by something else than storage, offset, shape and strides")
        if metadata:
            raise InputError(f"a tensor in it is marked {metadata!r}, which is not supported")
        return Description(storage, offset, tuple(shape), tuple(strides))


class _UnwrapParameter:
    """Stands for torch's `_rebuild_parameter`."""

    __slots__ = ()

    def __call__(self, data: Any, requires_grad: Any = False, hooks: Any = None) -> Any:
        return data


# Values are strings, immutable types or objects without attributes, so that no file can alter them.
ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _DescribeTensor(),
    ("torch._utils", "_rebuild_tensor_v2"): _DescribeTensor(),
    ("torch._utils", "_rebuild_parameter"): _UnwrapParameter(),
    **{(module, kind): kind for kind in DTYPES for module in ("torch", "torch.cuda")},
}


class Unpickler(pickle.Unpickler):
    """Unpickles plain containers of `Description`s, and collects in `storages` what they refer to.

    `load` raises InputError for anything else that a file names, and for damaged
    bytes whatever `pickle` happens to raise.
    """

    def __init__(self, file: io.BufferedIOBase) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise InputError(
                f"it refers to {module}.{name}, and only tensors and plain containers are read (nothing in it was run). "
                "If you trust the file, load it with PyTorch and save its state_dict as safetensors"
            )
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Storage:
        match pid:
            case ("storage", str(kind), str(key), str(), int(count), *views) if kind in DTYPES and count >= 0 and not any(views):
                storage = Storage(key, kind, count)
            case _:
                raise InputError(f"it refers to {pid!r}, which is not a whole storage of a known type")
        if self.storages.setdefault(key, storage) != storage:
            raise InputError(f"storage {key} is described in two ways")
        return storage

"""What stands for the functions and classes that a pickle of PyTorch names.

Nothing is ever imported, and the only functions called are the four of this file.
"""

import math
from typing import Any

import ml_dtypes
import numpy as np

from asym_jax.errors import InputError
from asym_jax.weights.files.pickled_values import (
    SHOWN,
    Description,
    Function,
    PickledDict,
    Placeholder,
    Storage,
    StorageType,
    shown,
)

AXES = 32
"""More axes than any layer has, and as many as every numpy takes."""

REPEATED = 65_536
"""A tensor may repeat the numbers of its storage, as `expand` does, up to so many; else a few bytes could stand for terabytes."""

MOST_NUMBERS = 2**56
"""Numbers in a storage: more than any file holds, and few enough to calculate with."""


def _describe_tensor(arguments: tuple[Any, ...]) -> Description:
    match arguments:
        case (Storage() as storage, offset, tuple(shape), tuple(strides), *rest) if len(shape) == len(strides) <= AXES:
            numbers = (offset, *shape, *strides)
        case _:
            numbers, rest = (None,), []
    if any(type(number) is not int or number < 0 for number in numbers):  # a bool is an int too
        raise InputError("a tensor in it is described by something else than storage, offset, shape and strides")
    # The rest are requires_grad, hooks, and since PyTorch 2.0 a dict of marks.
    if rest[2:] not in ([], [None]):
        raise InputError("a tensor in it is marked as conjugate or negated, which is not supported")
    _check_bounds(storage, offset, shape, strides)
    # The stride of an axis of length 1 means nothing, and may be too large to calculate with.
    return Description(storage, offset, shape, tuple(min(stride, storage.count) for stride in strides))


def _check_bounds(storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    written = "x".join(str(n)[:20] for n in shape[:8]) or "()"
    last = sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if offset + (0 if 0 in shape else last + 1) > storage.count:
        raise InputError(f"a tensor of shape {written} reaches beyond the end of storage {shown(storage.key)}")
    if math.prod(max(n, 1) for n in shape) > max(storage.count, REPEATED):
        raise InputError(
            f"a tensor of shape {written} repeats the {storage.count:,} numbers of its storage; "
            f"only tensors of up to {REPEATED:,} numbers may do so"
        )


def _unwrap_parameter(arguments: tuple[Any, ...]) -> Description:
    match arguments:
        case (Description() as tensor, *_) if len(arguments) <= 3:
            return tensor
    raise InputError("a parameter in it holds no tensor")


def _ordered_dict(arguments: tuple[Any, ...]) -> PickledDict:
    match arguments:
        case ():
            return PickledDict([])
        case (list() as pairs,):  # Python 2 wrote them so
            return PickledDict(pairs)
    raise InputError("an OrderedDict in it is made of something else than pairs")


def _size(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    match arguments:
        case (tuple() as shape,):
            return shape
    raise InputError("a torch.Size in it is made of something else than a tuple")


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

KNOWN = {
    ("collections", "OrderedDict"): Function("collections.OrderedDict", _ordered_dict),
    ("torch", "Size"): Function("torch.Size", _size),
    ("torch._utils", "_rebuild_tensor"): Function("torch._utils._rebuild_tensor", _describe_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): Function("torch._utils._rebuild_tensor_v2", _describe_tensor),
    ("torch._utils", "_rebuild_parameter"): Function("torch._utils._rebuild_parameter", _unwrap_parameter),
    **{(module, name): StorageType(name, dtype) for name, dtype in DTYPES.items() for module in ("torch", "torch.cuda")},
}

# What training checkpoints, Lightning's above all, hold beside the weights. Classes of builtins that
# containers and numbers are made with; never getattr, eval and the like.
_BUILTINS = "bool bytearray bytes complex dict float frozenset int list long object set slice str tuple type unicode"
_PATHS = "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath"
_ARRAYS = "scalar _reconstruct"
PLACEHOLDERS = {
    "_codecs": "encode",
    "argparse": "Namespace",
    "builtins": _BUILTINS,
    "__builtin__": _BUILTINS,
    "collections": "Counter defaultdict",
    "copy_reg": "_reconstructor",
    "copyreg": "_reconstructor",
    "numpy": "dtype ndarray",
    "numpy.core.multiarray": _ARRAYS,
    "numpy._core.multiarray": _ARRAYS,
    "pathlib": _PATHS,
    "pathlib._local": _PATHS,
    "torch": "bfloat16 bool device dtype float16 float32 float64 int16 int32 int64 int8 uint8",
    "typing": "Any Dict List Optional Tuple Union",
}
PLACEHOLDER_PACKAGES = (
    "lightning",
    "lightning_fabric",
    "lightning_utilities",
    "omegaconf",
    "pytorch_lightning",
    "torch.optim",
    "torchmetrics",
)


def stand_in(module: str, name: str) -> Function | StorageType | Placeholder:
    """What stands for `module.name`.

    Raises:
        InputError: nothing does.
    """
    if (module, name) in KNOWN:
        return KNOWN[module, name]
    in_package = any(f"{module}.".startswith(f"{package}.") for package in PLACEHOLDER_PACKAGES)
    written = repr(f"{module}.{name}"[:SHOWN])[1:-1]
    if in_package or name in PLACEHOLDERS.get(module, "").split():
        return Placeholder(written)
    raise InputError(
        f"it refers to {written}, and only tensors and plain containers are read (nothing in it was run). "
        "If you trust the file, load it with PyTorch and save its state_dict as safetensors"
    )


def storage(reference: Any) -> Storage:
    """The storage that a pickle refers to by a persistent id.

    Raises:
        InputError: it is anything else than a whole storage of a known type.
    """
    match reference:
        case ("storage", StorageType() as kind, str(key), str(), count, *views):
            if type(count) is int and 0 <= count <= MOST_NUMBERS and (not views or views == [None]):
                return Storage(key, kind, count)
    raise InputError(f"it refers to {shown(reference)}, which is not a whole storage of a known type")

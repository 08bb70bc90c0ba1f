"""Arrays between our layout and PyTorch's, and the strict check that nothing is missing or left over."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.typing import DTypeLike
from jaxtyping import Shaped

from asym_jax.arrays import Params
from asym_jax.errors import InputError
from asym_jax.weights.files.stored import StoredTensor

Tensor = Shaped[np.ndarray, "..."] | StoredTensor
"""In memory, or still in its file; both have `shape` and `dtype`, and `numpy.asarray` reads them."""

Tensors = Mapping[str, Tensor]
"""A file's content: arrays in PyTorch's layout under PyTorch's names."""

Keys = tuple[str, ...]
"""Where a parameter sits in nested dicts, outermost key first."""

NameOf = Callable[[Keys], str]
"""The PyTorch name of the parameter that sits there."""

# Only kernels have four axes (height, width, in, out; PyTorch: out, in, height, width) or two (in, out; PyTorch: out, in).
TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0)}
FROM_TORCH = {4: (2, 3, 1, 0), 2: (1, 0)}
UNTURNED = ("embedding", "concept_embeds", "special_care_embeds")
"""Leaves that have two axes and are no kernels: one row per entry, here and there."""

LISTED = 8
"""Differences spelled out in a message; the rest is counted."""

MOST_THREADS = 8
"""Threads that turn tensors around."""

ALIGNMENT = 64
"""Bytes."""

AT_ONCE = 16
"""Output channels of a kernel that are turned around together: a cache line of the result, which makes it twice as fast."""


def to_torch_axes(keys: Keys, axes: int) -> tuple[int, ...]:
    """The order of our axes in which PyTorch stores the parameter at `keys`."""
    return tuple(range(axes)) if keys[-1] in UNTURNED else TO_TORCH.get(axes, tuple(range(axes)))


def from_torch_axes(keys: Keys, axes: int) -> tuple[int, ...]:
    """The order of PyTorch's axes in which we store the parameter at `keys`."""
    return tuple(range(axes)) if keys[-1] in UNTURNED else FROM_TORCH.get(axes, tuple(range(axes)))


def extract(params: Params, name_of: NameOf) -> dict[str, Tensor]:
    """The arrays of `params`, on the host, in PyTorch's layout under PyTorch's names. They may be views."""
    flat = flatten_dict(jax.device_get(params))
    return {name_of(keys): np.transpose(array, to_torch_axes(keys, array.ndim)) for keys, array in flat.items()}


def fill(expected: Params, tensors: Tensors, name_of: NameOf, *, source: str) -> Params:
    """The tree that `expected` describes (shapes and types, from `jax.eval_shape`), with the values of `tensors`.

    Tensors that are still in their file are read one after the other, so that the
    result is the only whole copy in memory.

    Raises:
        InputError: as `check` does.
    """
    check(tensors, expected, name_of, source=source)

    def read(keys: Keys, wanted: jax.ShapeDtypeStruct) -> jax.Array:
        array = np.asarray(tensors[name_of(keys)])
        turned = _copied(np.transpose(array, from_torch_axes(keys, array.ndim)), wanted.dtype)
        return jax.device_put(turned)

    flat = flatten_dict(expected)
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as threads:
        arrays = list(threads.map(read, flat.keys(), flat.values()))
    return unflatten_dict(dict(zip(flat, arrays, strict=True)))


def _copied(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A contiguous copy that JAX can use as it stands: on a CPU it copies whatever does not begin at a multiple of `ALIGNMENT`."""
    size = array.size * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    copy = memory[begin : begin + size].view(dtype).reshape(array.shape)
    if array.ndim < 2 or array.flags.c_contiguous:
        copy[...] = array
    else:
        for first in range(0, array.shape[-1], AT_ONCE):
            copy[..., first : first + AT_ONCE] = array[..., first : first + AT_ONCE]
    return copy


def cast(name: str, tensor: Tensor, dtype: DTypeLike) -> np.ndarray:
    """The numbers of `tensor` as `dtype`, contiguous.

    Raises:
        InputError: a value that was finite lies beyond the range of `dtype`.
    """
    array = np.asarray(tensor)
    with np.errstate(over="ignore"):  # reported below, by name
        result = np.ascontiguousarray(array.astype(dtype))
    if jnp.finfo(dtype).max < jnp.finfo(array.dtype).max and not np.array_equal(np.isfinite(result), np.isfinite(array)):
        raise InputError(f"{name} has values beyond the range of {jnp.dtype(dtype)}")
    return result


def check(tensors: Tensors, expected: Params, name_of: NameOf, *, source: str) -> None:
    """Compares names, shapes and the kind of number.

    Raises:
        InputError: `tensors` lacks something, holds something else as well, or
            has another shape or a type that is no float; the message says so for
            the first few by PyTorch's names, and what `source` they came from.
    """
    flat = flatten_dict(expected)
    shapes = {name_of(keys): _torch_shape(keys, wanted.shape) for keys, wanted in flat.items()}
    differences = []
    for name, shape in shapes.items():
        if name not in tensors:
            differences.append(f"{name} {shape} is missing")
        elif tensors[name].shape != shape:
            differences.append(f"{name} has shape {tensors[name].shape}, expected {shape}")
        elif not jnp.issubdtype(tensors[name].dtype, jnp.floating):
            differences.append(f"{name} holds {tensors[name].dtype}, expected floating-point numbers")
    differences += [f"{name} {tensors[name].shape} is not expected" for name in tensors if name not in shapes]
    if differences:
        more = f"\n  and {len(differences) - LISTED} more" if len(differences) > LISTED else ""
        listed = "".join(f"\n  {line}" for line in differences[:LISTED])
        raise InputError(f"{source} does not fit the model that was to be filled:{listed}{more}")


def _torch_shape(keys: Keys, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in to_torch_axes(keys, len(shape)))

"""Arrays between our layout and PyTorch's, and the strict check that nothing is missing or left over."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Shaped

from asym_jax.arrays import Params
from asym_jax.errors import InputError

Tensor = Shaped[np.ndarray, "..."]
Tensors = Mapping[str, Tensor]
"""A file's content: arrays in PyTorch's layout under PyTorch's names."""

Keys = tuple[str, ...]
"""Where a parameter sits in nested dicts, outermost key first."""

NameOf = Callable[[Keys], str]
"""The PyTorch name of the parameter that sits there."""

# Only kernels have four axes (height, width, in, out; PyTorch: out, in, height, width) or two (in, out; PyTorch: out, in).
TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0)}
FROM_TORCH = {4: (2, 3, 1, 0), 2: (1, 0)}

LISTED = 8
"""Differences spelled out in a message; the rest is counted."""


def extract(params: Params, name_of: NameOf) -> dict[str, Tensor]:
    """The arrays of `params`, on the host and contiguous, in PyTorch's layout under PyTorch's names."""
    flat = flatten_dict(jax.device_get(params))
    return {name_of(keys): np.ascontiguousarray(np.transpose(array, TO_TORCH.get(array.ndim))) for keys, array in flat.items()}


def fill(expected: Params, tensors: Tensors, name_of: NameOf, *, source: str) -> Params:
    """The tree that `expected` describes (shapes and types, from `jax.eval_shape`), with the values of `tensors`.

    Raises:
        InputError: as `check` does.
    """
    check(tensors, expected, name_of, source=source)
    filled = {}
    for keys, wanted in flatten_dict(expected).items():
        tensor = tensors[name_of(keys)]
        # A copy, because the tensor may be a view of a file's bytes.
        filled[keys] = jnp.array(np.transpose(tensor, FROM_TORCH.get(tensor.ndim)).astype(wanted.dtype))
    return unflatten_dict(filled)


def check(tensors: Tensors, expected: Params, name_of: NameOf, *, source: str) -> None:
    """Compares names, shapes and the kind of number.

    Raises:
        InputError: `tensors` lacks something, holds something else as well, or
            has another shape or a type that is no float; the message says so for
            the first few by PyTorch's names, and what `source` they came from.
    """
    shapes = {name_of(keys): _torch_shape(wanted.shape) for keys, wanted in flatten_dict(expected).items()}
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


def _torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in TO_TORCH.get(len(shape), range(len(shape))))

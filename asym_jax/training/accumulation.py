"""A batch in parts: less memory, the same update."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import PyTree


def averaged_over_parts(work: Callable[[PyTree], PyTree], batch: PyTree, *, parts: int, devices: int) -> PyTree:
    """The mean of `work(part)` over the `parts` of a batch, which are worked through one after another.

    Every array of `batch` is cut alike, along its first axis. Where it is spread evenly over `devices`, each part is too,
    and takes from every device what lies there already: part k is the k-th share of each device's share. One part is
    the batch as it is.

    Args:
        work: gives a tree of floating-point arrays, whose shapes do not depend on the part.
    """
    if parts == 1:
        return work(batch)
    cut = jax.tree.map(lambda array: _cut(array, parts, devices), batch)

    def add(sums: PyTree, part: PyTree) -> tuple[PyTree, None]:
        return jax.tree.map(jnp.add, sums, work(part)), None

    one = jax.eval_shape(work, jax.tree.map(lambda array: array[0], cut))
    sums, _ = jax.lax.scan(add, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), one), cut)
    return jax.tree.map(lambda total: total / parts, sums)


def _cut(array: jax.Array, parts: int, devices: int) -> jax.Array:
    """(b, ...) to (parts, b / parts, ...)."""
    b, *rest = array.shape
    on_devices = array.reshape(devices, parts, b // (devices * parts), *rest)
    return on_devices.swapaxes(0, 1).reshape(parts, b // parts, *rest)

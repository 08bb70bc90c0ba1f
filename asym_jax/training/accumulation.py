"""A batch in parts: less memory, the same update."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import PyTree


def averaged_over_parts(work: Callable[[PyTree], PyTree], batch: PyTree, *, parts: int) -> PyTree:
    """The mean of `work(part)` over the `parts` of a batch, which are worked through one after another.

    Every array of `batch` is cut alike, along its first axis; `parts` divides it. One part is the batch as it is.

    Args:
        work: gives a tree of floating-point arrays, whose shapes do not depend on the part.
    """
    if parts == 1:
        return work(batch)
    cut = jax.tree.map(lambda array: array.reshape(parts, -1, *array.shape[1:]), batch)

    def add(sums: PyTree, part: PyTree) -> tuple[PyTree, None]:
        return jax.tree.map(jnp.add, sums, work(part)), None

    one = jax.eval_shape(work, jax.tree.map(lambda array: array[0], cut))
    sums, _ = jax.lax.scan(add, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), one), cut)
    return jax.tree.map(lambda total: total / parts, sums)

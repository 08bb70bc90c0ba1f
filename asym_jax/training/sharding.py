"""Which device holds what: pictures are spread over all devices, everything else is on each of them."""

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from asym_jax.errors import InputError

DATA = "data"
"""Mesh axis along which a batch is split."""


def make_mesh(batch_size: int) -> Mesh:
    """A mesh of all devices, with automatic partitioning. Raises InputError unless the devices can share a batch evenly."""
    count = jax.device_count()
    if batch_size % count:
        raise InputError(f"data.batch-size={batch_size} cannot be shared evenly by {count} devices; give a multiple of {count}")
    return jax.make_mesh((count,), (DATA,), axis_types=(AxisType.Auto,))


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The first axis split over all devices."""
    return NamedSharding(mesh, P(DATA))


def replicated(mesh: Mesh) -> NamedSharding:
    """A copy on every device."""
    return NamedSharding(mesh, P())


def state_shardings(abstract_state: PyTree, mesh: Mesh) -> PyTree:
    """The place of every leaf of a training state."""
    return jax.tree.map(lambda _: replicated(mesh), abstract_state)

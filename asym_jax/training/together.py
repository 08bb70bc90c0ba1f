"""All that devices tell each other during an update, in one place.

Each device looks at its own pictures with whole weights. The compiler has nothing to divide there, and so nothing to move:
what is exchanged is written in here. (The critic's batch normalisation has an exchange of its own, where pictures of several
devices share statistics.)
"""

import dataclasses
from collections.abc import Callable

import jax
from jax.sharding import Mesh, NamedSharding
from jaxtyping import PyTree

from asym_jax.training.sharding import FSDP, batch_sharding, replicated
from asym_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices of a mesh, each with its share of every batch, and where weights lie on them.

    All methods but `each` are for what runs inside of it. Places may stand for whole trees of arrays.
    """

    mesh: Mesh
    frozen: PyTree  # the place of every frozen weight
    state: TrainState  # and of everything that is trained

    @property
    def everywhere(self) -> NamedSharding:
        """The place of what is copied to every device."""
        return replicated(self.mesh)

    def each(self, work: Callable[..., PyTree], *, found: PyTree) -> Callable[..., PyTree]:
        """`work(frozen, state, batch)` on every device with those parts of the arguments that lie there; for whole ones.

        Args:
            found: places of the results. Of what is copied everywhere, `work` must give the same on all devices.
        """
        given, found = (
            jax.tree.map(lambda place: place.spec, places)
            for places in ((self.frozen, self.state, batch_sharding(self.mesh)), found)
        )
        return jax.shard_map(work, mesh=self.mesh, in_specs=given, out_specs=found, check_vma=False)

    def whole(self, weights: PyTree, places: PyTree) -> PyTree:
        """Weights that lie split as `places` says, put together."""

        def gather(leaf: jax.Array, cut: int | None) -> jax.Array:
            return leaf if cut is None else jax.lax.all_gather(leaf, FSDP, axis=cut, tiled=True)

        return _by_place(lambda leaf, place: gather(leaf, _cut(place)), weights, places)

    def split(self, gradients: PyTree, places: PyTree) -> PyTree:
        """Of gradients of whole weights: this device's part of their sum along `FSDP`, where `places` splits; else as they are."""

        def scatter(leaf: jax.Array, cut: int | None) -> jax.Array:
            return leaf if cut is None else jax.lax.psum_scatter(leaf, FSDP, scatter_dimension=cut, tiled=True)

        return _by_place(lambda leaf, place: scatter(leaf, _cut(place)), gradients, places)

    def mean_of_split(self, gradients: PyTree, places: PyTree) -> PyTree:
        """The average over all devices of what `split` was given, from what it gave."""

        def average(leaf: jax.Array, place: NamedSharding) -> jax.Array:
            left = [axis for axis, size in self.mesh.shape.items() if size > 1 and axis not in place.spec]
            return (jax.lax.psum(leaf, tuple(left)) if left else leaf) / self.mesh.size

        return _by_place(average, gradients, places)

    def mean(self, tree: PyTree) -> PyTree:
        """The average over all devices."""
        return self.mean_of_split(tree, self.everywhere)


def _by_place(work: Callable[[jax.Array, NamedSharding], jax.Array], tree: PyTree, places: PyTree) -> PyTree:
    return jax.tree.map(lambda place, below: jax.tree.map(lambda leaf: work(leaf, place), below), places, tree)


def _cut(place: NamedSharding) -> int | None:
    """The axis of an array that is split."""
    return place.spec.index(FSDP) if FSDP in place.spec else None

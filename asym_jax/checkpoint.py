"""What is written to disk, and how a run picks up where it stopped.

The only module that imports Orbax. Every part of the training state is an item
of its own, so that evaluation reads the decoder and nothing else; the config
travels in the metadata. Frozen networks are not saved.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from jaxtyping import PyTree
from orbax.checkpoint import v1 as ocp


class Checkpoints:
    """The checkpoints of one run, numbered by the updates done."""

    def __init__(self, checkpointer: ocp.training.Checkpointer) -> None:
        self._checkpointer = checkpointer

    @property
    def newest(self) -> int | None:
        """Updates done at the newest whole checkpoint, or None."""
        latest = self._checkpointer.latest
        return None if latest is None else latest.step

    def save(self, step: int, items: dict[str, PyTree], config: dict[str, Any]) -> None:
        """Starts writing `items` in the background; empty ones are left out. An earlier failure is raised here."""
        full = {name: tree for name, tree in items.items() if jax.tree.leaves(tree)}
        self._checkpointer.save_checkpointables_async(step, full, force=True, custom_metadata={"config": config})

    def load(self, step: int, abstract: dict[str, PyTree]) -> dict[str, PyTree]:
        """The items of `abstract` (leaves are `jax.ShapeDtypeStruct` with shardings), read straight onto their devices."""
        full = {name: tree for name, tree in abstract.items() if jax.tree.leaves(tree)}
        return abstract | self._checkpointer.load_checkpointables(step, full)

    def config(self, step: int) -> dict[str, Any]:
        """The config that was saved with a step."""
        return self._checkpointer.checkpointables_metadata(step).custom_metadata["config"]


@contextlib.contextmanager
def open_folder(folder: Path, *, keep: int) -> Iterator[Checkpoints]:
    """Yields the checkpoints in `folder`, of which the newest `keep` survive; all writes are finished when the block ends."""
    preserve = ocp.training.preservation_policies.LatestN(keep)
    with ocp.training.Checkpointer(folder.resolve(), preservation_policy=preserve) as checkpointer:
        yield Checkpoints(checkpointer)


def abstract_like(tree: PyTree, shardings: PyTree) -> PyTree:
    """Shapes, types and places of `tree`, as `Checkpoints.load` wants them."""
    return jax.tree.map(lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), tree, shardings)

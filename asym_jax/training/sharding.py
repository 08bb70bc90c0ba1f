"""Which device holds what.

Devices form a grid with two axes, `data` and `fsdp`. A batch is split over both.
Parameters, optimiser state, average and critic are split over `fsdp` or copied to
every device, as a table says: (regex on the path, "split" or "copy") pairs, of
which the first that is found in a leaf's path decides.
"""

import re
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from asym_jax.config import ShardingConfig
from asym_jax.errors import InputError

DATA = "data"
FSDP = "fsdp"
FROZEN = "frozen"
"""First name of the paths of networks that are not trained."""

NOTHING_SPLIT = ShardingConfig()


def make_mesh(batch_size: int, *, accumulate: int = 1, fsdp: int = 1) -> Mesh:
    """A grid of all devices, `fsdp` of them wide, with automatic partitioning.

    Raises:
        InputError: the devices cannot form that grid, or cannot share each of the `accumulate` parts of a batch evenly.
    """
    count = jax.device_count()
    if count % fsdp:
        raise InputError(f"sharding.fsdp={fsdp} does not divide the {count} devices; give a divisor of {count}")
    at_once = count * accumulate
    if batch_size % at_once:
        parts = f" in optim.accumulate={accumulate} parts" if accumulate > 1 else ""
        raise InputError(
            f"data.batch-size={batch_size} cannot be shared evenly by {count} devices{parts}; give a multiple of {at_once}"
        )
    return jax.make_mesh((count // fsdp, fsdp), (DATA, FSDP), axis_types=(AxisType.Auto,) * 2)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The first axis split over all devices."""
    return NamedSharding(mesh, P(mesh.axis_names))


def replicated(mesh: Mesh) -> NamedSharding:
    """A copy on every device."""
    return NamedSharding(mesh, P())


def state_shardings(abstract: PyTree, mesh: Mesh, config: ShardingConfig = NOTHING_SPLIT) -> PyTree:
    """The place of every leaf of a training state, or of any tree of shapes.

    A leaf that is to be split is cut along its longest axis that the width of the grid divides (the last of several);
    one without such an axis, or with fewer than `config.smallest` values, is copied. So is one that no rule matches.

    Raises:
        InputError: a rule matches nothing.
    """
    unused = dict.fromkeys(pattern for pattern, _ in config.rules)

    def place(path: tuple, leaf: jax.ShapeDtypeStruct | jax.Array | np.ndarray) -> NamedSharding:
        name = path_name(path)
        for pattern, kind in config.rules:
            if re.search(pattern, name):
                unused.pop(pattern, None)
                return NamedSharding(mesh, _spec(np.shape(leaf), mesh, config.smallest) if kind == "split" else P())
        return replicated(mesh)

    places = jax.tree_util.tree_map_with_path(place, abstract)
    if unused:
        raise InputError(
            f"sharding.rules: nothing matches {list(unused)} (or an earlier pattern takes it all). Paths look like "
            "decoder/up_blocks_0/resnets_0/conv1/kernel, decoder_opt/0/mu/conv_in/bias, frozen/vae/encoder/conv_in/kernel"
        )
    return places


def path_name(path: tuple) -> str:
    """`decoder/conv_in/kernel` of a path that JAX gives."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _spec(shape: tuple[int, ...], mesh: Mesh, smallest: int) -> P:
    """Where to cut an array of this shape, if anywhere."""
    width = mesh.shape.get(FSDP, 1)
    long_enough = [(size, axis) for axis, size in enumerate(shape) if size % width == 0]
    if width == 1 or not long_enough or np.prod(shape) < smallest:
        return P()
    _, axis = max(long_enough)
    return P(*[None] * axis, FSDP)


class Row(NamedTuple):
    """What one group of a state weighs."""

    group: str
    split: bool
    leaves: int
    values: int
    bytes_per_device: int


def placement(tree: PyTree) -> list[Row]:
    """Sums by group and by whether leaves are split; a group is the first name of a path, and of frozen weights the first two.

    `tree` may hold arrays, or shapes with shardings.
    """
    rows: dict[tuple[str, bool], Row] = {}
    for path, leaf in jax.tree.leaves_with_path(tree):
        names = path_name(path).split("/")
        group = "/".join(names[: 1 + (names[0] == FROZEN)])
        split = not leaf.sharding.is_fully_replicated
        held = int(np.prod(leaf.sharding.shard_shape(leaf.shape), dtype=np.int64)) * leaf.dtype.itemsize
        old = rows.get((group, split), Row(group, split, 0, 0, 0))
        rows[group, split] = Row(group, split, old.leaves + 1, old.values + int(leaf.size), old.bytes_per_device + held)
    return list(rows.values())


def placement_table(tree: PyTree) -> str:
    """`placement` as a table to read, with the sum of bytes per device."""
    rows = placement(tree)
    lines = [f"{'':14} {'':7} {'leaves':>7} {'values':>13} {'per device':>13}"]
    for row in rows:
        kind = "split" if row.split else "copied"
        lines.append(f"{row.group:14} {kind:7} {row.leaves:7} {row.values:13,} {_in_words(row.bytes_per_device):>13}")
    leaves, values, held = (sum(column) for column in zip(*(row[2:] for row in rows), strict=True))
    lines.append(f"{'together':14} {'':7} {leaves:7} {values:13,} {_in_words(held):>13}")
    return "\n".join(lines)


def _in_words(size: int) -> str:
    unit = "MiB" if size >= 2**20 else "KiB"
    return f"{size / (2**20 if unit == 'MiB' else 2**10):,.1f} {unit}"

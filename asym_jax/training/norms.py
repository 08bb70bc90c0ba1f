"""How large gradients, updates and parameters are, group by group."""

from collections.abc import Sequence

import jax
import optax

from asym_jax.arrays import Params, Scalar
from asym_jax.training.optim import group_names, group_of


def group_norms(groups: Sequence[tuple[str, float]], **trees: Params) -> dict[str, Scalar]:
    """`norm/NAME/GROUP`, the L2 norm over all parameters of a group, for each tree NAME of the decoder's shape.

    Groups are those of `optim.groups`, under the names that `group_names` gives them.
    """
    names = group_names(groups)
    norms = {}
    for kind, tree in trees.items():
        labels = jax.tree.leaves(group_of(groups, tree))
        members: dict[str, list[jax.Array]] = {pattern: [] for pattern in names}
        for label, leaf in zip(labels, jax.tree.leaves(tree), strict=True):
            members[label].append(leaf)
        norms |= {f"norm/{kind}/{names[pattern]}": optax.tree.norm(leaves) for pattern, leaves in members.items()}
    return norms


def critic_norms(**trees: Params) -> dict[str, Scalar]:
    """`norm/NAME/critic` for each tree of the critic's shape; nothing where there is no critic."""
    return {f"norm/{kind}/critic": optax.tree.norm(tree) for kind, tree in trees.items() if jax.tree.leaves(tree)}

"""What a backward pass computes again instead of keeping it in memory.

Parameters, values and gradients are the same whatever is chosen; only memory and time change.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
from flax import linen as nn

Remat = Literal["none", "norms", "blocks"]
"""`none` keeps everything. `norms` keeps what convolutions and products give, and computes normalisations and activations
again. `blocks` keeps what residual blocks are given, and computes their inside again."""


def forgetful(block: Callable[..., Any], remat: Remat) -> Callable[..., Any]:
    """A residual block's class, or a function of a module and its features, that keeps only what `remat` says."""
    if remat == "none":
        return block
    return nn.remat(block, policy=_given_by_products if remat == "norms" else None)


def _given_by_products(primitive: jax.extend.core.Primitive, *_: Any, **__: Any) -> bool:
    return primitive.name in ("conv_general_dilated", "dot_general")

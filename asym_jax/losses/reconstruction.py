"""How far decoded pixels are from the original ones."""

from typing import Literal

import jax.numpy as jnp

from asym_jax.arrays import Images, PerImage


def pixel_loss(kind: Literal["l1", "l2"], image: Images, reconstruction: Images) -> PerImage:
    """Mean over pixels and channels of the absolute ("l1") or squared ("l2") difference.

    The released code uses L1, the paper writes L2. Hole and kept pixels count equally.
    """
    difference = reconstruction - image
    return jnp.mean(jnp.abs(difference) if kind == "l1" else jnp.square(difference), axis=(1, 2, 3))

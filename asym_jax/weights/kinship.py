"""Whether two autoencoders share their frozen half, so that the same latents mean the same to both."""

import jax
import numpy as np

from asym_jax.arrays import Params

FROZEN = ("encoder", "quant_conv", "quantize")
"""What decides the latents; the last is a codebook, which not every autoencoder has."""


def differing_half(one: Params, other: Params) -> str | None:
    """The first part of `FROZEN` that the two have not in common, up to the rounding of half-precision files; None if all agree."""
    for part in FROZEN:
        ours, theirs = (jax.tree.leaves_with_path(params.get(part)) for params in (one, other))
        same = len(ours) == len(theirs) and all(
            path == twin and a.shape == b.shape and np.allclose(a, b, rtol=1e-2, atol=1e-3)
            for (path, a), (twin, b) in zip(ours, theirs, strict=False)
        )
        if not same:
            return part
    return None

"""Whether two autoencoders share their frozen half, so that the same latents mean the same to both."""

from collections.abc import Sequence

import jax
import numpy as np

from asym_jax.arrays import Params

FROZEN = ("encoder", "quant_conv", "quantize")
"""What decides the latents; the last is a codebook, which not every autoencoder has."""


IN_TRAINING = (*FROZEN, "post_quant_conv")
"""What decides all that a decoder is given; while it is trained, the last comes from the frozen autoencoder too."""


def differing_half(one: Params, other: Params, parts: Sequence[str] = FROZEN) -> str | None:
    """The first of the parts that the two have not in common, up to the rounding of half-precision files; None if all agree."""
    for part in parts:
        ours, theirs = (jax.tree.leaves_with_path(params.get(part)) for params in (one, other))
        same = len(ours) == len(theirs) and all(
            path == twin and a.shape == b.shape and np.allclose(a, b, rtol=1e-2, atol=1e-3)
            for (path, a), (twin, b) in zip(ours, theirs, strict=False)
        )
        if not same:
            return part
    return None

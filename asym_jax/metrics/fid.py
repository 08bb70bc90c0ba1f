"""Fréchet Inception Distance (Heusel et al. 2017, arXiv 1706.08500) and what it is computed from.

FID falls with the number of pictures N, about as a constant over N, and pictures that
are paired (an inpainted one and its original) give far smaller values than independent
ones: compare only results of the same N, the same mode and the same kind of reference.
"""

import numpy as np
from jaxtyping import Float

from asym_jax.arrays import Params, Pixels
from asym_jax.metrics.frechet import frechet_distance_of_samples
from asym_jax.metrics.inception_inputs import Mode, inception_inputs
from asym_jax.models.inception import Inception, InceptionTaps


def look(params: Params, pixels: Pixels, mode: Mode) -> InceptionTaps:
    """What Inception says of each picture in 0..255; no picture sees another, so any batch and any sharding will do.

    Runs in float32 whatever the accelerator's default. `params` is the tree of `Inception`.
    """
    return Inception().apply({"params": params}, inception_inputs(pixels, mode))


def fid(generated: Float[np.ndarray, "n d"], reference: Float[np.ndarray, "m d"]) -> float:
    """The distance between two sets of pictures, given `pool3` of each of them in any order; 0 for equal sets.

    Gather the rows of all batches by index first: the mean of distances of parts is another number.

    Raises:
        ValueError: a set has fewer than two pictures, or a feature is not finite.
    """
    return frechet_distance_of_samples(generated, reference)

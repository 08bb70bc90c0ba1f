"""Random parameters: every tensor differs from every other."""

import functools

import jax
import numpy as np

from asym_jax.weights.architecture import abstract_params


def random_like(params):
    """Float32 arrays of the same shapes."""
    random = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: 0.3 * random.normal(size=leaf.shape).astype(np.float32), params)


@functools.cache
def drawn(model):
    """Parameters for `model`."""
    return random_like(abstract_params(model))

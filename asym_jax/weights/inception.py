"""The weights behind FID and the Inception Score: which file they need, and what is in it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from asym_jax.arrays import Params
from asym_jax.models.inception import SIDE, Inception
from asym_jax.weights import required
from asym_jax.weights.convert import Keys, fill
from asym_jax.weights.fetching.cache import weights_folder
from asym_jax.weights.fetching.published import INCEPTION
from asym_jax.weights.files.torch_pickle import read_torch

FILES = (INCEPTION,)

LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
"""Our names, and PyTorch's."""

BIAS = "fc.bias"
"""Part of the file, but not of the Inception Score."""

COUNTER = ".num_batches_tracked"
"""PyTorch's count of training steps, which some copies of the file have."""


class InceptionWeights(NamedTuple):
    """The parameters of `models.inception.Inception`."""

    params: Params
    verified: bool  # whether the file is known to be the published one


def inception_problem() -> str | None:
    """Why `load_inception` cannot begin, in one message that says what to put where; None if the file is there."""
    return required.problem(FILES)


def load_inception() -> InceptionWeights:
    """Reads the FID network, as pytorch-fid and torch-fidelity publish it.

    Raises:
        InputError: the file is absent, is not the published one, or does not hold the
            expected tensors; torchvision's `inception_v3` is refused.
    """
    known, path = required.verified(FILES), weights_folder() / INCEPTION.name
    found = read_torch(path).tensors
    tensors = {name: tensor for name, tensor in found.items() if name != BIAS and not name.endswith(COUNTER)}
    picture = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), jnp.float32)
    expected = jax.eval_shape(Inception().init, jax.random.key(0), picture)["params"]
    return InceptionWeights(fill(expected, tensors, _torch_name, source=str(path)), known)


def _torch_name(keys: Keys) -> str:
    *modules, leaf = keys
    return ".".join([*modules, LEAVES[leaf]])

"""The networks of LPIPS: which files they need, and what is in them.

The files keep their published names and lie in `$ASYM_JAX_WEIGHTS` (default
`~/.cache/asym_jax`). A file is used only if it has the published SHA-256, unless
`ASYM_JAX_UNVERIFIED_WEIGHTS=1`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from asym_jax.arrays import Params
from asym_jax.weights import required
from asym_jax.weights.convert import Keys, fill
from asym_jax.weights.fetching.cache import weights_folder
from asym_jax.weights.fetching.published import ALEXNET, LPIPS_ALEX_HEADS, LPIPS_HEADS, VGG16
from asym_jax.weights.files.torch_pickle import read_torch

LPIPS = (VGG16, LPIPS_HEADS)
LPIPS_ALEX = (ALEXNET, LPIPS_ALEX_HEADS)

# Position in torchvision's `features` and width of each convolution of VGG16; conv0 sees three channels.
VGG_POSITIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
VGG_WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
HEAD_WIDTHS = (64, 128, 256, 512, 512)

# The same for AlexNet, and the sides of its kernels; every convolution is a tap.
ALEX_POSITIONS = (0, 3, 6, 8, 10)
ALEX_WIDTHS = (64, 192, 384, 256, 256)
ALEX_KERNELS = (11, 5, 3, 3, 3)


class LpipsWeights(NamedTuple):
    """The parameters of LPIPS with VGG16, version 0.1."""

    vgg: Params  # {"conv0": {"kernel", "bias"}, ..., "conv12"}, kernels HWIO
    heads: tuple[Float[Array, " c"], ...]  # non-negative weights of the channels of the five taps
    verified: bool  # whether the files are known to be the published ones


class AlexLpipsWeights(NamedTuple):
    """The parameters of LPIPS with AlexNet, version 0.1."""

    alex: Params  # {"conv0": {"kernel", "bias"}, ..., "conv4"}
    heads: tuple[Float[Array, " c"], ...]
    verified: bool


def lpips_problem() -> str | None:
    """Why `load_lpips` cannot begin, in one message that says what to put where; None if both files are there."""
    return required.problem(LPIPS)


def load_lpips() -> LpipsWeights:
    """Reads VGG16 and the LPIPS heads.

    Raises:
        InputError: a file is absent, is not the published one, or does not hold the expected tensors.
    """
    known, folder = required.verified(LPIPS), weights_folder()
    return LpipsWeights(_read_vgg(folder / VGG16.name), _read_heads(folder / LPIPS_HEADS.name, HEAD_WIDTHS), known)


def alex_problem() -> str | None:
    """Why `load_alex` cannot begin, in one message that says what to put where; None if both files are there."""
    return required.problem(LPIPS_ALEX)


def load_alex() -> AlexLpipsWeights:
    """Reads AlexNet and its LPIPS heads.

    Raises:
        InputError: a file is absent, is not the published one, or does not hold the expected tensors.
    """
    known, folder = required.verified(LPIPS_ALEX), weights_folder()
    alex = _read_features(folder / ALEXNET.name, ALEX_POSITIONS, ALEX_WIDTHS, ALEX_KERNELS)
    return AlexLpipsWeights(alex, _read_heads(folder / LPIPS_ALEX_HEADS.name, ALEX_WIDTHS), known)


def _read_vgg(path: Path) -> Params:
    return _read_features(path, VGG_POSITIONS, VGG_WIDTHS, (3,) * len(VGG_WIDTHS))


def _read_features(path: Path, positions: Sequence[int], widths: Sequence[int], kernels: Sequence[int]) -> Params:
    """The convolutions in `features` of a classifier of torchvision, as conv0, conv1, ..."""

    def name_of(keys: Keys) -> str:
        layer, leaf = keys
        return f"features.{positions[int(layer.removeprefix('conv'))]}.{'weight' if leaf == 'kernel' else leaf}"

    inputs = (3, *widths[:-1])
    expected = {
        f"conv{i}": {
            "kernel": jax.ShapeDtypeStruct((side, side, narrow, wide), jnp.float32),
            "bias": jax.ShapeDtypeStruct((wide,), jnp.float32),
        }
        for i, (narrow, wide, side) in enumerate(zip(inputs, widths, kernels, strict=True))
    }
    # The classifier is not part of LPIPS.
    tensors = {name: tensor for name, tensor in read_torch(path).tensors.items() if not name.startswith("classifier.")}
    return fill(expected, tensors, name_of, source=str(path))


def _read_heads(path: Path, widths: Sequence[int]) -> tuple[Float[Array, " c"], ...]:
    expected = {f"lin{i}": jax.ShapeDtypeStruct((1, 1, width, 1), jnp.float32) for i, width in enumerate(widths)}
    heads = fill(expected, read_torch(path).tensors, lambda keys: f"{keys[0]}.model.1.weight", source=str(path))
    return tuple(heads[f"lin{i}"].reshape(-1) for i in range(len(widths)))

"""Fixed networks that measure pictures: which files they need, and what is in them.

The files keep their published names and lie in `$ASYM_JAX_WEIGHTS` (default
`~/.cache/asym_jax`). A file is used only if it has the published SHA-256, unless
`ASYM_JAX_UNVERIFIED_WEIGHTS=1`.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from asym_jax.arrays import Params
from asym_jax.errors import InputError
from asym_jax.weights.convert import Keys, fill
from asym_jax.weights.fetching.cache import weights_folder
from asym_jax.weights.fetching.published import LPIPS_HEADS, VGG16, PublishedFile, described, fetch_line
from asym_jax.weights.files.torch_pickle import read_torch

LPIPS = (VGG16, LPIPS_HEADS)

# Position in torchvision's `features` and width of each convolution of VGG16; conv0 sees three channels.
VGG_POSITIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
VGG_WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
HEAD_WIDTHS = (64, 128, 256, 512, 512)


class LpipsWeights(NamedTuple):
    """The parameters of LPIPS with VGG16, version 0.1."""

    vgg: Params  # {"conv0": {"kernel", "bias"}, ..., "conv12"}, kernels HWIO
    heads: tuple[Float[Array, " c"], ...]  # non-negative weights of the channels of the five taps
    verified: bool  # whether the files are known to be the published ones


def lpips_problem() -> str | None:
    """Why `load_lpips` cannot begin, in one message that says what to put where; None if both files are there."""
    return _problem(LPIPS)


def load_lpips() -> LpipsWeights:
    """Reads VGG16 and the LPIPS heads.

    Raises:
        InputError: a file is absent, is not the published one, or does not hold the expected tensors.
    """
    problem = lpips_problem()
    if problem:
        raise InputError(problem)
    verified = os.environ.get("ASYM_JAX_UNVERIFIED_WEIGHTS") != "1"
    if verified:
        for file in LPIPS:
            _verify(file)
    return LpipsWeights(_read_vgg(weights_folder() / VGG16.name), _read_heads(weights_folder() / LPIPS_HEADS.name), verified)


def _problem(files: Sequence[PublishedFile]) -> str | None:
    folder = weights_folder()
    missing = [file for file in files if not (folder / file.name).is_file()]
    if not missing:
        return None
    by_hand = "; ".join(f"{described(file)} as {folder / file.name}" for file in missing)
    return (
        f"{folder} lacks weights (ASYM_JAX_WEIGHTS names another folder). Fetch them: `{fetch_line(missing)}`. "
        f"Or put them there by hand: {by_hand}"
    )


def _verify(file: PublishedFile) -> None:
    path = weights_folder() / file.name
    with path.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != file.sha256:
        raise InputError(
            f"{path} has SHA-256 {found}, the published file has {file.sha256}; fetch it again "
            f"(`{fetch_line([file])} --force`), or set ASYM_JAX_UNVERIFIED_WEIGHTS=1 to use it "
            "and have every result marked as unverified"
        )


def _read_vgg(path: Path) -> Params:
    def name_of(keys: Keys) -> str:
        layer, leaf = keys
        return f"features.{VGG_POSITIONS[int(layer.removeprefix('conv'))]}.{'weight' if leaf == 'kernel' else leaf}"

    inputs = (3, *VGG_WIDTHS[:-1])
    expected = {
        f"conv{i}": {
            "kernel": jax.ShapeDtypeStruct((3, 3, narrow, wide), jnp.float32),
            "bias": jax.ShapeDtypeStruct((wide,), jnp.float32),
        }
        for i, (narrow, wide) in enumerate(zip(inputs, VGG_WIDTHS, strict=True))
    }
    # The classifier is not part of LPIPS.
    tensors = {name: tensor for name, tensor in read_torch(path).tensors.items() if not name.startswith("classifier.")}
    return fill(expected, tensors, name_of, source=str(path))


def _read_heads(path: Path) -> tuple[Float[Array, " c"], ...]:
    expected = {f"lin{i}": jax.ShapeDtypeStruct((1, 1, width, 1), jnp.float32) for i, width in enumerate(HEAD_WIDTHS)}
    heads = fill(expected, read_torch(path).tensors, lambda keys: f"{keys[0]}.model.1.weight", source=str(path))
    return tuple(heads[f"lin{i}"].reshape(-1) for i in range(len(HEAD_WIDTHS)))

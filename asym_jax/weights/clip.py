"""Vision towers of CLIP in files: the one behind the CLIP score, and any other that Hugging Face's PyTorch classes saved."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from asym_jax.arrays import Params
from asym_jax.errors import InputError
from asym_jax.models.clip_vision import ClipVision
from asym_jax.weights import required
from asym_jax.weights.convert import Keys, Tensor, Tensors, fill
from asym_jax.weights.fetching.cache import weights_folder
from asym_jax.weights.fetching.published import CLIP
from asym_jax.weights.files.formats import read_tensors

FILES = (CLIP,)

LEAVES = {"kernel": "weight", "scale": "weight", "embedding": "weight", "bias": "bias", "class_embedding": "class_embedding"}
"""Our names, and PyTorch's."""

TOWER, PROJECTION = "vision_model.", "visual_projection.weight"
POSITIONS = "vision_model.embeddings.position_ids"
"""The numbers 0, 1, 2, ... that files of older versions hold."""

PATCHES = "vision_model.embeddings.patch_embedding.weight"
PLACES = "vision_model.embeddings.position_embedding.weight"
HIDDEN = "vision_model.encoder.layers.0.mlp.fc1.weight"
LAYER = re.compile(r"vision_model\.encoder\.layers\.(\d+)\.")

HEAD_WIDTH = 64
"""Of every published CLIP; the shapes of the tensors do not tell it."""


class ClipWeights(NamedTuple):
    """A vision tower."""

    model: ClipVision
    params: Params
    verified: bool  # whether the file is known to be the published one


def clip_problem() -> str | None:
    """Why `load_clip` cannot begin, in one message that says what to put where; None if the file is there."""
    return required.problem(FILES)


def load_clip() -> ClipWeights:
    """Reads the vision tower of ViT-B/32 with its projection.

    Raises:
        InputError: the file is absent, is not the published one, or holds another network.
    """
    known = required.verified(FILES)
    path = weights_folder() / CLIP.name
    model, params = read_clip_vision(path)
    if model.projection is None:
        raise InputError(f"{path} holds a tower without projection; the CLIP score needs {PROJECTION}")
    return ClipWeights(model, params, known)


def read_clip_vision(path: Path, *, heads: int | None = None) -> tuple[ClipVision, Params]:
    """The vision tower in a file of PyTorch's (.bin or safetensors, as Hugging Face's classes name the tensors).

    The text half, if it is there, is left out; sizes are told from the tensors.

    Args:
        heads: of the attention; by default as many as have 64 channels.

    Raises:
        InputError: the file cannot be read, is in OpenAI's format, or holds something else.
    """
    try:
        found = read_tensors(path).tensors
    except InputError as error:
        raise InputError(f"{error}. {_ADVICE}") from error
    model, tensors = vision_tower(found, source=str(path), heads=heads)
    return model, from_torch(tensors, model, source=str(path))


def vision_tower(tensors: Tensors, *, source: str, heads: int | None = None) -> tuple[ClipVision, Mapping[str, Tensor]]:
    """The network that these tensors are of, and those among them that belong to it. Raises InputError if they are of none."""
    kept = {name: tensor for name, tensor in tensors.items() if _belongs(name)}
    if "visual.conv1.weight" in tensors:
        raise InputError(f"{source} holds CLIP under OpenAI's names. {_ADVICE}")
    lacking = [name for name in (PATCHES, PLACES, HIDDEN) if name not in kept]
    if lacking:
        raise InputError(f"{source} holds no vision tower of CLIP: {', '.join(lacking)} is missing. {_ADVICE}")
    shapes = [kept[name].shape for name in (PATCHES, PLACES, HIDDEN)]
    if [len(shape) for shape in shapes] != [4, 2, 2]:
        raise InputError(f"{source} holds no vision tower of CLIP: {PATCHES}, {PLACES} and {HIDDEN} have shapes {shapes}")
    (width, _, patch, _), (places, _), (hidden, _) = shapes
    side = round((places - 1) ** 0.5)
    layers = 1 + max(int(found[1]) for name in kept if (found := LAYER.match(name)))
    heads = heads or max(width // HEAD_WIDTH, 1)
    if width % heads or side * side + 1 != places:
        raise InputError(f"{source}: {width} channels for {heads} heads and {places} positions are no CLIP of square pictures")
    projection = kept[PROJECTION].shape[0] if PROJECTION in kept else None
    return ClipVision(layers, width, heads, patch, side * patch, projection, hidden), kept


def from_torch(tensors: Tensors, model: ClipVision, *, source: str) -> Params:
    """Parameters of `model` from tensors under Hugging Face's names. Raises InputError if any is missing or misshapen."""
    picture = jax.ShapeDtypeStruct((1, model.image_size, model.image_size, 3), jnp.float32)
    expected = jax.eval_shape(model.init, jax.random.key(0), picture)["params"]
    return fill(expected, tensors, torch_name, source=source)


def torch_name(keys: Keys) -> str:
    """What Hugging Face's PyTorch classes call the parameter at `keys`."""
    *modules, leaf = keys
    return ".".join([*(re.sub(r"^layers_(\d+)$", r"layers.\1", name) for name in modules), LEAVES[leaf]])


def _belongs(name: str) -> bool:
    return name == PROJECTION or (name.startswith(TOWER) and name != POSITIONS)


_ADVICE = (
    "What is read is pytorch_model.bin or model.safetensors as Hugging Face publishes them (openai/clip-vit-base-patch32); "
    "OpenAI's own ViT-B-32.pt is a TorchScript program, which is never run here"
)

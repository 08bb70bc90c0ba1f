"""The files of a diffusers folder: their names, and how each is read and written."""

from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from asym_jax.errors import InputError
from asym_jax.weights.convert import Tensor, Tensors
from asym_jax.weights.torch_pickle import read_torch

CONFIG = "config.json"
SAFETENSORS = "diffusion_pytorch_model.safetensors"
PICKLE = "diffusion_pytorch_model.bin"


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, in the types that they were saved in.

    Raises:
        InputError: the file is damaged or truncated.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged, incomplete, or no safetensors file ({error})") from error


def write_safetensors(path: Path, tensors: Tensors) -> None:
    """Writes contiguous arrays; readers of PyTorch expect the entry `format`."""
    save_file(dict(tensors), path, metadata={"format": "pt"})


READERS: Mapping[str, Callable[[Path], dict[str, Tensor]]] = {SAFETENSORS: read_safetensors, PICKLE: read_torch}
"""Weight files by name, the preferred one first."""

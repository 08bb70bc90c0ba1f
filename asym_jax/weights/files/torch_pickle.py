"""Reads what `torch.save` wrote, without torch, and without running anything that is in the file."""

import mmap
from pathlib import Path

from asym_jax.errors import InputError
from asym_jax.weights.files import torch_legacy, torch_zip
from asym_jax.weights.files.pickle_machine import Bytes
from asym_jax.weights.files.pickled_values import Damaged
from asym_jax.weights.files.stored import TensorFile
from asym_jax.weights.files.torch_archive import Archive


def read_torch(path: Path) -> TensorFile:
    """The tensors of a state dict or of a training checkpoint, still in their file.

    A checkpoint is a dict with an entry `state_dict`; its other entries are named in `left_out`.
    Both containers are read: the zip file of PyTorch 1.6 and later, and the older sequence of
    pickles followed by raw numbers. The numbers themselves are not read, and not checked.

    Raises:
        InputError: the file is damaged or truncated, holds something else than
            named tensors, or names code to run.
    """
    try:
        with path.open("rb") as file:
            if not file.read(1):  # an empty file cannot be mapped
                raise Damaged("it is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _read(data).weights(path)
    except InputError as error:
        raise InputError(f"{path} cannot be used: {error}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except Damaged as error:
        raise InputError(f"{path} is damaged, incomplete, or no PyTorch file ({error})") from None


def _read(data: Bytes) -> Archive:
    if data[: len(torch_zip.START)] == torch_zip.START:
        return torch_zip.read_zip(data)
    if data[: len(torch_legacy.START)] == torch_legacy.START:
        return torch_legacy.read_legacy(data)
    raise Damaged("it begins neither as a zip file nor as a pickle")

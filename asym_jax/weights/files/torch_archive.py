"""What both kinds of PyTorch files come down to, and the weights in it."""

import dataclasses
from pathlib import Path
from typing import Any

from asym_jax.errors import InputError
from asym_jax.weights.files.pickled_values import Damaged, Description, PickledDict, kind_of, shown
from asym_jax.weights.files.stored import StoredTensor, TensorFile

LONGEST_NAME = 1_000


@dataclasses.dataclass(frozen=True)
class Archive:
    """A file whose numbers have not been read.

    Attributes:
        format: the kind of file, in words.
        content: what the pickle describes.
        starts: first byte of each storage, by key.
    """

    format: str
    content: Any
    starts: dict[str, int]

    def weights(self, path: Path) -> TensorFile:
        """The named tensors: all of them, or those under `state_dict` in a training checkpoint.

        Raises:
            InputError: there is something else among them.
        """
        entries = _entries(self.content)
        checkpoints = [value for key, value in entries if key == "state_dict" and isinstance(value, PickledDict)]
        if not checkpoints:
            return TensorFile(self.format, self._tensors(path, entries))
        if len(checkpoints) > 1:
            raise InputError("it holds 'state_dict' twice")
        left_out = tuple(_left_out(key) for key, value in entries if value is not checkpoints[0])
        return TensorFile(self.format, self._tensors(path, _entries(checkpoints[0])), left_out)

    def _tensors(self, path: Path, entries: list[tuple[Any, Any]]) -> dict[str, StoredTensor]:
        tensors = {}
        for name, value in entries:
            if not isinstance(name, str) or not isinstance(value, Description):
                raise InputError(f"it holds {shown(name)}: {kind_of(value)}, and a dict of named tensors is expected")
            if not name.isprintable() or len(name) > LONGEST_NAME:
                raise InputError(f"a tensor in it is called {shown(name)}, which is no name")
            if name in tensors:
                raise InputError(f"it holds {shown(name)} twice")
            tensors[name] = self._tensor(path, value)
        return tensors

    def _tensor(self, path: Path, described: Description) -> StoredTensor:
        dtype = described.storage.kind.dtype
        start = self.starts[described.storage.key] + described.offset * dtype.itemsize
        return StoredTensor(path, start, dtype, described.shape, described.strides)


def _entries(content: Any) -> list[tuple[Any, Any]]:
    if not isinstance(content, PickledDict):
        raise InputError(f"it holds a {kind_of(content)}, and a dict of named tensors is expected")
    if not all(isinstance(entry, tuple | list) and len(entry) == 2 for entry in content.entries):
        raise Damaged("a dict in it has entries that are no pairs")
    return [(key, value) for key, value in content.entries]


def _left_out(key: Any) -> str:
    return key if isinstance(key, str) and key.isprintable() and len(key) <= LONGEST_NAME else shown(key)

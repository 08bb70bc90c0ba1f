"""Reads weights that are spread over several files, with an index that says which tensor is in which."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from asym_jax.errors import InputError
from asym_jax.weights.files.json_file import read_json
from asym_jax.weights.files.stored import StoredTensor, TensorFile
from asym_jax.weights.sources.file_names import INDEX

LARGEST_INDEX = 8 * 2**20
"""Bytes; an index has some hundred bytes per tensor."""

Reader = Callable[[Path], TensorFile]


def read_sharded(index: Path, read: Reader) -> TensorFile:
    """The tensors of all files that `index` (`*.index.json`) names, each opened with `read`.

    Raises:
        InputError: the index is damaged, names files outside its folder or other
            indices, or does not agree with the files.
    """
    names: dict[str, set[str]] = defaultdict(set)
    for name, shard in shards(index).items():
        names[shard].add(name)
    tensors: dict[str, StoredTensor] = {}
    form = ""
    for shard, announced in sorted(names.items()):
        path = index.parent / shard
        if not path.is_file():
            raise InputError(f"{index} names {shard}, and there is no {path}")
        content = read(path)
        form = content.format
        wrong = sorted(announced ^ content.tensors.keys())
        if wrong:
            listed = f"{', '.join(name[:200] for name in wrong[:4])}{' ...' if len(wrong) > 4 else ''}"
            raise InputError(f"{index} and {path} do not agree on {listed}")
        tensors |= content.tensors
    return TensorFile(f"{form} in {len(names)} parts", tensors)


def shards(index: Path) -> dict[str, str]:
    """File names by tensor names, as an index says.

    Raises:
        InputError: it is no such index, or names something else than files with tensors beside it.
    """
    content = read_json(index, largest=LARGEST_INDEX)
    where = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(where, dict) or not where or not all(isinstance(shard, str) for shard in where.values()):
        raise InputError(f"{index} has no weight_map that gives a file name for each tensor")
    strangers = [text for text in (*where, *where.values()) if not text.isprintable()]
    strangers += [shard for shard in where.values() if not _is_beside(shard)]
    if strangers:
        raise InputError(f"{index} names {strangers[0][:80]!r}, which is not a file with tensors beside it")
    return where


def _is_beside(shard: str) -> bool:
    hidden = not shard or shard.startswith(".")  # `..` and `.` as well
    return not hidden and len(shard) <= 255 and "\\" not in shard and shard == Path(shard).name and not shard.endswith(INDEX)

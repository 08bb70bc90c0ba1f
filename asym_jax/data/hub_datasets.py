"""Data sets of Hugging Face's `datasets` library, which is optional."""

from pathlib import Path
from typing import Any

from asym_jax.data.content import KEYS
from asym_jax.data.entries import fingerprint
from asym_jax.data.objects import ObjectSource
from asym_jax.errors import InputError

PACKAGE = "datasets<5"
"""What to install: 5 asks for another huggingface_hub than the pipelines have."""


def dataset_source(dataset: Any, name: str | None = None) -> ObjectSource:
    """The pictures of a `datasets.Dataset`: of its column of type Image, or of one with a usual name. They are decoded here.

    Raises:
        InputError: it has no such column, or no random access.
    """
    import datasets

    if not isinstance(dataset, datasets.Dataset):
        raise InputError(f"expected a datasets.Dataset, one split with random access, and not {type(dataset).__name__}")
    pictures = [column for column, kind in dataset.features.items() if isinstance(kind, datasets.Image)]
    usual = [key for key in KEYS if key in (pictures or dataset.column_names)]
    if not usual and not pictures:
        raise InputError(f"{name or 'the data set'} has no column of pictures; it has {', '.join(dataset.column_names)}")
    column = (usual or pictures)[0]
    dataset = dataset.select_columns([column]).rename_column(column, KEYS[0])
    if pictures:
        dataset = dataset.cast_column(KEYS[0], datasets.Image(decode=False))
    return ObjectSource(dataset, name or f"datasets.Dataset {fingerprint([dataset._fingerprint])}")


def open_hub_dataset(place: str, split: str) -> ObjectSource:
    """A split of a folder written by `save_to_disk`, or of what `datasets.load_dataset` finds under a name or in a folder.

    Raises:
        InputError: `datasets` is not installed, or does not find the data set or the split.
    """
    try:
        import datasets
    except ImportError as error:
        raise InputError(f"huggingface:{place} needs Hugging Face's library of data sets: pip install '{PACKAGE}'") from error
    folder = Path(place).expanduser()
    saved = any((folder / name).exists() for name in ("dataset_dict.json", "state.json"))
    try:
        if saved:
            found = datasets.load_from_disk(str(folder))
            found = found[split] if isinstance(found, datasets.DatasetDict) else found
        else:
            found = datasets.load_dataset(str(folder) if folder.exists() else place, split=split)
    except KeyError as error:
        raise InputError(f"huggingface:{place} has no split {split!r}; it has {', '.join(found)}") from error
    except Exception as error:  # whatever the library, the hub or the script of a data set raises
        raise InputError(f"huggingface:{place}#{split} cannot be opened: {type(error).__name__}: {error}") from error
    return dataset_source(found, f"huggingface:{place}#{split}")

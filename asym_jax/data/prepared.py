"""Data sets prepared by TensorFlow Datasets, read without TensorFlow."""

import os
from pathlib import Path
from typing import Any

from asym_jax.data.content import to_picture
from asym_jax.data.entries import EntrySource
from asym_jax.data.pictures import Picture, UnreadablePicture
from asym_jax.errors import InputError

DEFAULT_SPLIT = "train"
INFO = "dataset_info.json"
"""Marks the folder of one version of a prepared data set."""


class PreparedSource(EntrySource):
    """The pictures of one split of a data set in TensorFlow Datasets' array_record or parquet format.

    Only files are read: the code that made the data set is not imported, and the pictures arrive as encoded bytes.

    Raises:
        InputError: the folder holds no such data set, split, or feature, or it was prepared as tfrecord.
    """

    def __init__(self, folder: Path, split: str = DEFAULT_SPLIT) -> None:
        self.folder, self.split = folder, split
        self._feature, self._elements = _open(folder, split)
        super().__init__(len(self._elements))

    def read(self, entry: int) -> Picture:
        name = self.entry_name(entry)
        try:
            content = self._elements[entry][self._feature]
        except Exception as error:  # a damaged block is a RuntimeError, a bad record a DecodeError, ...
            raise UnreadablePicture(name, f"{type(error).__name__}: {error}") from error
        return to_picture(content, name)

    def text(self, entry: int, feature: str) -> str | None:
        """What an element says under a text feature, such as the name of its file; None if it has no such feature."""
        value = self._elements[entry].get(feature)
        return value.decode() if isinstance(value, bytes) else value

    def entry_name(self, entry: int) -> str:
        return f"{self.folder}/{self.split}[{entry}]"

    def identity(self) -> str:
        return f"{'/'.join(self.folder.parts[-3:])}, {self.split}"

    def __getstate__(self) -> dict[str, object]:
        return super().__getstate__() | {"_elements": None}  # another process opens its own

    def __setstate__(self, state: dict[str, object]) -> None:
        super().__setstate__(state)
        _, self._elements = _open(self.folder, self.split)


def open_prepared(place: str) -> PreparedSource:
    """The source of `NAME_OR_DIR[/SPLIT]`; a name is looked for in $TFDS_DATA_DIR, by default ~/tensorflow_datasets.

    A name may have a configuration and a version (`coco/2017`, `mnist:3.0.1`); without a version the newest is taken.
    A split may be a slice (`train[50%:]`); without one it is `train`.

    Raises:
        InputError: no data set is prepared there, or it cannot be read without TensorFlow.
    """
    root = Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    for candidate in (Path(place).expanduser().absolute(), root / place.replace(":", "/")):
        if folder := _newest(candidate):
            return PreparedSource(folder)
        if folder := _newest(candidate.parent):
            return PreparedSource(folder, candidate.name)
    raise InputError(
        f"tfds:{place}: no prepared data set in {Path(place).expanduser().absolute()} or in {root}; expected a folder with {INFO}. "
        "Prepare it with `tfds build NAME --file_format=array_record` (most data sets need TensorFlow for that, once)"
    )


def _newest(folder: Path) -> Path | None:
    """The folder itself if it holds a data set, or else the highest version in it."""
    if (folder / INFO).is_file():
        return folder
    versions = [path.parent for path in folder.glob(f"*/{INFO}") if _version(path.parent)]
    return max(versions, key=_version, default=None)


def _version(folder: Path) -> tuple[int, ...]:
    numbers = folder.name.split(".")
    return tuple(map(int, numbers)) if all(number.isdecimal() for number in numbers) else ()


def _open(folder: Path, split: str) -> tuple[str, Any]:
    """Name of the picture feature, and the elements, with only that feature undecoded."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(str(folder))
        features = builder.info.features
        pictures = [name for name, feature in features.items() if isinstance(feature, tfds.features.Image)]
    except Exception as error:  # whatever its many formats of metadata run into
        raise InputError(f"{folder} cannot be read as a data set of tfds: {type(error).__name__}: {error}") from error
    if not pictures:
        raise InputError(f"the data set in {folder} has no picture among its features ({', '.join(features)})")
    feature = "image" if "image" in pictures else pictures[0]
    if split.partition("[")[0] not in builder.info.splits:
        raise InputError(f"the data set in {folder} has no split {split!r}; it has {', '.join(builder.info.splits)}")
    try:
        elements = builder.as_data_source(split, decoders={feature: tfds.decode.SkipDecoding()})
        wanted = builder.info.splits[split].num_examples
    except NotImplementedError as error:
        found = getattr(builder.info.file_format, "value", builder.info.file_format)
        raise InputError(
            f"the data set in {folder} was prepared as {found}, which has no random access. Convert it once, where TensorFlow is "
            f"installed:\n    tfds convert_format --dataset_version_dir={folder} --out_file_format=array_record "
            f"--out_dir={_converted(folder)}\nand then use tfds:{_converted(folder)}"
        ) from error
    except Exception as error:
        raise InputError(f"split {split!r} of {folder} cannot be opened: {type(error).__name__}: {error}") from error
    if len(elements) != wanted:  # tfds passes over the brackets of a slice in its parquet format
        raise InputError(
            f"the data set in {folder} gives {len(elements)} examples for {split!r} instead of {wanted}: take a whole split"
        )
    return feature, elements


def _converted(folder: Path) -> Path:
    return folder.parent.parent / f"{folder.parent.name}_array_record" / folder.name

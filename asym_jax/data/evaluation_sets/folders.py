"""Sets without a name: any folder or list of pictures, and pictures with masks beside them as LaMa writes them."""

import os
from collections.abc import Sequence
from pathlib import Path

from asym_jax.data.evaluation_sets.examples import EvaluationSet, FileSet, require_files
from asym_jax.data.evaluation_sets.masks import Masks
from asym_jax.data.pictures import EXTENSIONS, list_pictures
from asym_jax.errors import InputError


def open_folder(place: Path, *, size: int, sizing: str | None = None, masks: Masks | None = None) -> EvaluationSet:
    """All pictures of a folder, sorted, or of a `.txt` list, in its order; see `list_pictures`.

    Raises:
        InputError: there are none, or two have the same name but for the extension.
    """
    paths = list_pictures(place)
    names = names_of(paths, place if place.is_dir() else place.parent)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{place}: two pictures are called {twice}; give them different names before the extension")
    return FileSet(paths, names, size=size, sizing=sizing, masks=masks)


def names_of(paths: Sequence[Path], root: Path) -> list[str]:
    """Names of pictures: their paths without extension, from `root`, or, if some lie elsewhere, from what all have in common."""
    plain = [Path(os.path.normpath(path.absolute())) for path in paths]
    root = Path(os.path.normpath(root.absolute()))
    if not all(path.is_relative_to(root) for path in plain):
        root = Path(os.path.commonpath([path.parent for path in plain]))
    return [str(path.relative_to(root).with_suffix("")) for path in plain]


class PairSet(FileSet):
    """Pictures as stored, with their own masks."""

    sizing = "exact"


def open_pairs(folder: Path, *, size: int, sizing: str | None = None, masks: Masks | None = None) -> EvaluationSet:
    """`NAME_mask.png` (or `NAME_mask000.png`) and the picture `NAME.png` or `.jpg` beside it, in all folders below.

    So does LaMa's gen_mask_dataset write its evaluation sets, and so does the reference read the one that it published.

    Raises:
        InputError: there are none, or a picture is missing.
    """
    found = sorted(folder.rglob("*_mask*.png")) if folder.is_dir() else []
    found = [path for path in found if not path.name.startswith(".")]
    if not found:
        raise InputError(f"pairs:{folder}: no pairs there; expected NAME.png and its mask NAME_mask.png (or NAME_mask000.png)")
    pictures = []
    for mask in found:
        stem = mask.name.rpartition("_mask")[0]
        beside = [mask.with_name(stem + extension) for extension in (".png", ".jpg", *sorted(EXTENSIONS))]
        pictures.append(next((path for path in beside if path.is_file()), beside[0]))
    require_files(f"pairs:{folder}", pictures)
    # A picture may have several masks, and then only these are called differently.
    named_by = pictures if len(set(pictures)) == len(pictures) else found
    names = [str(path.relative_to(folder).with_suffix("")) for path in named_by]
    return PairSet(pictures, names, found, size=size, sizing=sizing, masks=masks)

"""The validation pictures of ImageNet (ILSVRC 2012), and the choice of a few of each class."""

import hashlib
import re
from collections import defaultdict
from pathlib import Path

from asym_jax.data.evaluation_sets.examples import EvaluationSet, FileSet
from asym_jax.data.evaluation_sets.masks import Masks
from asym_jax.errors import InputError

LAYOUT = (
    "expected ILSVRC2012_val_00000001.JPEG, ..., all in one folder or in a folder for each class (n01440764, ...), "
    "there or in its folder val"
)
LABELS = ("val.txt", "ILSVRC2012_validation_ground_truth.txt", "LOC_val_solution.csv")
"""Files that tell the classes of pictures that lie in one folder, in it or above it."""

_NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.jpe?g", re.IGNORECASE)
_SYNSET = re.compile(r"n\d{8}")


def open_imagenet(
    folder: Path,
    *,
    size: int,
    per_class: int | None = None,
    seed: int = 0,
    sizing: str | None = None,
    masks: Masks | None = None,
) -> EvaluationSet:
    """The validation pictures in the order of their numbers; with `per_class`, that many of each class.

    The paper takes 3 of each class at random. Here the choice follows from `seed` and the pictures' names alone, see
    `choose`. It needs to know the classes: from folders, or from one of `LABELS`.

    Raises:
        InputError: the folder holds no such pictures, or classes are needed and not known.
    """
    root = next((place for place in (folder / "val", folder) if _pictures(place)), None)
    if root is None:
        raise InputError(f"imagenet:{folder}: no validation pictures there; {LAYOUT}")
    paths = sorted(_pictures(root), key=_number)
    if per_class is not None:
        classes = _classes(root, paths)
        chosen = choose({path.stem: classes[path] for path in paths}, per_class, seed)
        paths = [path for path in paths if path.stem in chosen]
    return FileSet(paths, [path.stem for path in paths], size=size, sizing=sizing, masks=masks)


def choose(class_of: dict[str, str], per_class: int, seed: int) -> frozenset[str]:
    """`per_class` names of each class (all, where there are fewer): those with the smallest SHA-256 of "SEED NAME".

    So the choice in one class depends on no other class, and not on the version of a random number generator.
    """
    members = defaultdict(list)
    for name, label in class_of.items():
        members[label].append(name)
    ranked = (sorted(names, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest()) for names in members.values())
    return frozenset(name for names in ranked for name in names[:per_class])


def _pictures(root: Path) -> list[Path]:
    """Of the folder itself, or else of its folders of classes."""
    if not root.is_dir():
        return []
    here = [path for path in root.iterdir() if _NAME.fullmatch(path.name)]
    if here:
        return here
    folders = [path for path in root.iterdir() if path.is_dir() and _SYNSET.fullmatch(path.name)]
    return [path for folder in folders for path in folder.iterdir() if _NAME.fullmatch(path.name)]


def _number(path: Path) -> int:
    return int(_NAME.fullmatch(path.name)[1])


def _classes(root: Path, paths: list[Path]) -> dict[Path, str]:
    if paths[0].parent != root:
        return {path: path.parent.name for path in paths}
    for place in (root, root.parent):
        for name in LABELS:
            if (place / name).is_file():
                labels = _read_labels(place / name)
                missing = next((path for path in paths if _number(path) not in labels), None)
                if missing:
                    raise InputError(f"{place / name} tells no class for {missing.name}")
                return {path: labels[_number(path)] for path in paths}
    raise InputError(
        f"imagenet:{root}: the classes are not known, which a choice of each class needs; put the pictures into folders of "
        f"classes, or one of {', '.join(LABELS)} into {root} or {root.parent}"
    )


def _read_labels(path: Path) -> dict[int, str]:
    """Class by number. A line is `ILSVRC2012_val_00000001.JPEG 65`, `ILSVRC2012_val_00000001,n03995372 85 1 9 7`, or a class."""
    labels = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        words = line.replace(",", " ").split()
        if not words or words[0] == "ImageId":
            continue
        named = re.match(r"ILSVRC2012_val_(\d{8})", words[0])
        labels[int(named[1]) if named else number] = words[1] if named and len(words) > 1 else words[0]
    return labels

"""Where the masks of an evaluation come from: drawn by a recipe, or files."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Bool, UInt8

from asym_jax.arrays import PRNGKey
from asym_jax.data.mask_sets import MANIFEST, MASK_RECIPES, draw_hole, read_manifest
from asym_jax.data.masks import FIXED_SEED
from asym_jax.data.pictures import EXTENSIONS, UnreadablePicture, read_picture
from asym_jax.errors import InputError


@runtime_checkable
class Masks(Protocol):
    """Masks by index and name of their picture, 128 and above = hole: of the picture's size, or of the final square's."""

    def __call__(self, index: int, name: str, size: int) -> UInt8[np.ndarray, "H W"]: ...

    def __repr__(self) -> str: ...


class DrawnMasks:
    """Picture i gets the same hole in every run, the one of `fixed_masks`, scaled to the size of the evaluation."""

    def __init__(self, recipe: str) -> None:
        self.recipe = recipe

    def __call__(self, index: int, name: str, size: int) -> UInt8[np.ndarray, "S S"]:
        key = jax.random.fold_in(jax.random.key(FIXED_SEED), index)
        return np.asarray(_compiled(self.recipe, size)(key)).astype(np.uint8) * 255

    def __repr__(self) -> str:
        return self.recipe


class MaskFolder:
    """Files of a folder: NAME.png (or another kind of picture) for the picture NAME, or else 000012.png for picture 12.

    A name with folders is looked for in the same folders, and then without them.

    Attributes:
        rejected: names that the manifest of a mask set lists as pictures without a mask.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise InputError(f"masks {folder}: neither a folder nor one of {', '.join(MASK_RECIPES)}")
        self._found: dict[str, Path] = {}
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in EXTENSIONS and not path.name.startswith("."):
                self._found.setdefault(str(path.relative_to(folder).with_suffix("")), path)
        if not self._found:
            raise InputError(f"masks {folder}: no pictures in it; expected one mask for each picture, under the same name")
        self.rejected = frozenset(read_manifest(folder)["rejected"] if (folder / MANIFEST).is_file() else ())

    def has_none(self, index: int, name: str) -> bool:
        """Whether the picture was left without a mask when the set was made."""
        return not self.rejected.isdisjoint(self._candidates(index, name))

    def __call__(self, index: int, name: str, size: int) -> UInt8[np.ndarray, "H W"]:
        path = next((self._found[candidate] for candidate in self._candidates(index, name) if candidate in self._found), None)
        if path is None:
            raise InputError(f"masks {self.folder}: none for the picture {name}; expected {name}.png or {index:06}.png")
        return read_mask(path)

    def __repr__(self) -> str:
        return str(self.folder)

    def _candidates(self, index: int, name: str) -> tuple[str, ...]:
        return name, Path(name).name, f"{index:06}"


def find_masks(spec: str | Path | None) -> Masks | None:
    """The masks that a command names: one of `MASK_RECIPES`, or a folder; None for no masks.

    Raises:
        InputError: there is no such folder.
    """
    if spec is None:
        return None
    return DrawnMasks(str(spec)) if str(spec) in MASK_RECIPES else MaskFolder(Path(spec))


def read_mask(path: Path) -> UInt8[np.ndarray, "H W"]:
    """A mask file, grey or coloured. Raises InputError if it cannot be read."""
    try:
        return read_picture(path).max(axis=2)
    except UnreadablePicture as error:
        raise InputError(f"the mask {path} cannot be read ({error.reason})") from error


@functools.cache
def _compiled(recipe: str, size: int) -> Callable[[PRNGKey], Bool[Array, "S S"]]:
    return jax.jit(functools.partial(draw_hole, recipe=recipe, size=size))

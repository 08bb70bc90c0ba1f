"""Where the masks of an evaluation come from: drawn by a recipe, or files."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Bool, UInt8

from asym_jax.arrays import PRNGKey
from asym_jax.data.entries import fingerprint
from asym_jax.data.mask_sets import (
    AT_ONCE,
    FULL,
    MANIFEST,
    MASK_RECIPES,
    MaskPlan,
    draw_hole,
    pick_mask,
    pick_masks,
    plan_masks,
    read_manifest,
    root_key,
)
from asym_jax.data.masks import FIXED_SEED
from asym_jax.data.pictures import EXTENSIONS, UnreadablePicture, read_picture
from asym_jax.errors import InputError


@runtime_checkable
class Masks(Protocol):
    """Masks by index and name of their picture, 128 and above = hole: of the picture's size, or of the final square's."""

    def __call__(self, index: int, name: str, size: int) -> UInt8[np.ndarray, "H W"]: ...

    def has_none(self, index: int, name: str, size: int) -> bool:
        """Whether the picture is to be left out, because every hole that was drawn for it was too large."""
        ...

    def __repr__(self) -> str: ...


class DrawnMasks:
    """Picture i gets the same hole in every run, the one of `fixed_masks`, scaled to the size of the evaluation."""

    def __init__(self, recipe: str) -> None:
        self.recipe = recipe

    def __call__(self, index: int, name: str, size: int) -> UInt8[np.ndarray, "S S"]:
        key = jax.random.fold_in(jax.random.key(FIXED_SEED), index)
        return np.asarray(_compiled(self.recipe, size)(key)).astype(np.uint8) * 255

    def has_none(self, index: int, name: str, size: int) -> bool:
        return False

    def __repr__(self) -> str:
        return self.recipe


LIMITED = {f"{recipe}_limited": recipe for recipe in MASK_RECIPES if recipe != FULL}
"""Recipes with LaMa's limit on the area, by the names that users give."""


class LimitedMasks:
    """LaMa's evaluation masks: of five holes drawn for picture i, one of those that cover no more than half of it.

    They are the masks that `tools/make_masks.py` writes for the recipe when nothing else is asked of it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._accepted: dict[tuple[int, int], Bool[np.ndarray, " n"]] = {}

    def __call__(self, index: int, name: str, size: int) -> UInt8[np.ndarray, "S S"]:
        plan = self._plan(size)
        return np.asarray(_picked(plan)(jax.random.fold_in(root_key(plan.seed), index)))

    def has_none(self, index: int, name: str, size: int) -> bool:
        """Draws the masks of the pictures around it, too."""
        group, place = divmod(index, AT_ONCE)
        if (group, size) not in self._accepted:
            self._accepted[group, size] = np.asarray(pick_masks(self._plan(size), group * AT_ONCE)[2])
        return not self._accepted[group, size][place]

    def __repr__(self) -> str:
        plan = self._plan(None)
        return f"{self.name} (of {plan.variants} drawn, one of those up to {plan.max_area:.0%}; seed {plan.seed})"

    def _plan(self, size: int | None) -> MaskPlan:
        return plan_masks(["any"], recipe=LIMITED[self.name], size=size)


NUMBER = re.compile(r"\d{6}")
"""What `tools/make_masks.py --count` calls its masks."""


class MaskFolder:
    """Files of a folder: NAME.png (or another kind of picture) for the picture NAME.

    A name with folders is looked for in the same folders, and then without them. Where all masks are called by number
    (000012.png) and pictures are not, that is the number of the picture in its set.

    Attributes:
        rejected: names that the manifest of a mask set lists as pictures without a mask.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise InputError(f"masks {folder}: neither a folder nor one of {', '.join((*MASK_RECIPES, *LIMITED))}")
        self._found: dict[str, Path] = {}
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in EXTENSIONS and not path.name.startswith("."):
                self._found.setdefault(str(path.relative_to(folder).with_suffix("")), path)
        if not self._found:
            raise InputError(f"masks {folder}: no pictures in it; expected one mask for each picture, under the same name")
        self.rejected = frozenset(read_manifest(folder)["rejected"] if (folder / MANIFEST).is_file() else ())
        self._numbered = all(NUMBER.fullmatch(name) for name in (*self._found, *self.rejected))

    def has_none(self, index: int, name: str, size: int) -> bool:
        """Whether the picture was left without a mask when the set was made."""
        return self._match(index, name) in self.rejected

    def __call__(self, index: int, name: str, size: int) -> UInt8[np.ndarray, "H W"]:
        match = self._match(index, name)
        if match not in self._found:
            by_number = f" or {index:06}.png" if self._numbered else ""
            raise InputError(f"masks {self.folder}: none for the picture {name}; expected {name}.png{by_number}")
        return read_mask(self._found[match])

    def __repr__(self) -> str:
        """Identifies the masks, as far as names and sizes of files can tell."""
        return f"{self.folder} (files {fingerprint(f'{name} {path.stat().st_size}' for name, path in self._found.items())})"

    def _match(self, index: int, name: str) -> str | None:
        """The name under which a picture's mask is there, or is listed as rejected."""
        short = Path(name).name
        candidates = (name, short, f"{index:06}") if self._numbered and not NUMBER.fullmatch(short) else (name, short)
        return next((one for one in candidates if one in self._found or one in self.rejected), None)


def find_masks(spec: str | Path | None) -> Masks | None:
    """The masks that a command names: one of `MASK_RECIPES` or of `LIMITED`, or a folder; None for no masks.

    Raises:
        InputError: there is no such folder.
    """
    if spec is None:
        return None
    if str(spec) in LIMITED:
        return LimitedMasks(str(spec))
    return DrawnMasks(str(spec)) if str(spec) in MASK_RECIPES else MaskFolder(Path(spec))


def read_mask(path: Path) -> UInt8[np.ndarray, "H W"]:
    """A mask file, grey or coloured. Raises InputError if it cannot be read."""
    try:
        return read_picture(path).max(axis=2)
    except UnreadablePicture as error:
        raise InputError(f"the mask {path} cannot be read ({error.reason})") from error


@functools.cache
def _picked(plan: MaskPlan) -> Callable[[PRNGKey], UInt8[Array, "S S"]]:
    return jax.jit(lambda key: pick_mask(key, plan)[0])


@functools.cache
def _compiled(recipe: str, size: int) -> Callable[[PRNGKey], Bool[Array, "S S"]]:
    return jax.jit(functools.partial(draw_hole, recipe=recipe, size=size))

"""Masks of an evaluation set: one for each picture, with a limit on the hole, as files that anybody can read.

LaMa's `gen_mask_dataset` draws five masks per picture, rejects those with more than half of the area, and keeps one of the
others; a picture whose five masks are all too large gets none and drops out. Here the pictures are squares already, so
that a mask is drawn on the square itself; LaMa draws it on the whole picture and then cuts out a square.
"""

import functools
import json
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32, UInt8
from PIL import Image

from asym_jax.arrays import PRNGKey
from asym_jax.data.entries import fingerprint
from asym_jax.data.holes import fill_boxes, random_boxes
from asym_jax.data.masks import draw_mask
from asym_jax.data.recipes import RECIPES, find_recipe
from asym_jax.errors import InputError

BOXES, FULL = "boxes", "full"
MASK_RECIPES = (*RECIPES, BOXES, FULL)
"""What a mask set can be made of: LaMa's six recipes, the boxes of thick_256 alone, and holes that are everything."""

MANIFEST = "manifest.json"
AT_ONCE = 16
"""Pictures whose masks are drawn together."""


class MaskPlan(NamedTuple):
    """All that decides the masks of a set; a set that was begun goes on only with the same plan.

    Attributes:
        variants: masks drawn per picture.
        max_area: share of the picture above which a hole is rejected.
        when_rejected: what a picture gets if every variant is rejected: `skip` none, `smallest` the smallest of them.
        names: SHA-256 (its beginning) of the names of all pictures.
    """

    recipe: str
    size: int
    seed: int
    count: int
    names: str
    variants: int
    max_area: float
    when_rejected: str


def plan_masks(
    names: Sequence[str],
    *,
    recipe: str,
    size: int | None = None,
    seed: int = 0,
    variants: int = 5,
    max_area: float = 0.5,
    when_rejected: str = "skip",
) -> MaskPlan:
    """The plan of a set with LaMa's limits; `full` masks have none. `size` is the recipe's unless given, or else 512.

    Raises:
        InputError: the recipe is unknown, there are no pictures, or a number is out of its range.
    """
    if recipe not in MASK_RECIPES:
        raise InputError(f"unknown mask recipe {recipe!r}: expected one of {', '.join(MASK_RECIPES)}")
    if not names:
        raise InputError("a mask set needs at least one picture")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"two pictures would share the mask {twice}: give them different names before the extension")
    size = size or (RECIPES[recipe].size if recipe in RECIPES else 512)
    if variants < 1 or not 0 < max_area <= 1 or when_rejected not in ("skip", "smallest"):
        raise InputError("a mask set needs at least one variant, a largest area in (0, 1], and `skip` or `smallest`")
    if recipe == FULL:
        variants, max_area = 1, 1.0
    return MaskPlan(recipe, size, seed, len(names), fingerprint(names), variants, max_area, when_rejected)


def write_masks(folder: Path, names: Sequence[str], plan: MaskPlan) -> Iterator[int]:
    """Writes `folder/NAME.png` for every name, 255 = hole, and `manifest.json`; yields how many pictures are done.

    Mask i depends on the plan's seed and i alone. Files appear whole or not at all, so that a set
    which was stopped goes on where it was, to the same bytes. The manifest says at last of each
    picture the area of its hole, or that all its variants were rejected.

    Raises:
        InputError: the folder holds something else, or another set, or cannot be written.
    """
    try:
        _begin(folder, plan)
        areas: dict[str, float | None] = {}
        for start in range(0, plan.count, AT_ONCE):
            group = names[start : start + AT_ONCE]
            found = [_area_of(folder / f"{name}.png", plan.size) for name in group]
            if None in found:
                found = _draw_group(folder, group, start, found, plan)
            areas |= dict(zip(group, found, strict=True))
            yield len(areas)
        _write_manifest(folder, plan, areas)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from error


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a mask set. Raises InputError if there is none, or it is not ours, or the set is not complete."""
    path = folder / MANIFEST
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        complete, kept = document["complete"], document.get("kept")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not the manifest of a mask set ({type(error).__name__}: {error})") from error
    if not complete or not isinstance(kept, dict):
        raise InputError(f"the mask set {folder} is not complete: run the same tools.make_masks command again")
    return document


def pick_mask(key: PRNGKey, plan: MaskPlan) -> tuple[UInt8[Array, "S S"], Int32[Array, ""], Bool[Array, ""]]:
    """One mask of 0 and 255, its number of hole pixels, and whether any variant was within the limit.

    Every accepted variant is as likely as the others. If none is, the mask is the smallest variant.
    """
    variant_key, choice_key = jax.random.split(key)
    keys = jax.vmap(lambda i: jax.random.fold_in(variant_key, i))(jnp.arange(plan.variants))
    holes = jax.lax.map(functools.partial(draw_hole, recipe=plan.recipe, size=plan.size), keys)
    areas = jnp.sum(holes, axis=(1, 2), dtype=jnp.int32)
    accepted = areas <= int(plan.max_area * plan.size**2)
    # The accepted variant with the largest of as many uniform numbers is a uniform choice.
    lots = jnp.where(accepted, jax.random.uniform(choice_key, (plan.variants,)), -1.0)
    chosen = jnp.where(jnp.any(accepted), jnp.argmax(lots), jnp.argmin(areas))
    return holes[chosen].astype(jnp.uint8) * 255, areas[chosen], jnp.any(accepted)


def pick_masks(plan: MaskPlan, first: int) -> tuple[UInt8[Array, "n S S"], Int32[Array, " n"], Bool[Array, " n"]]:
    """What `pick_mask` gives for `AT_ONCE` pictures from number `first` on, in any set of this plan."""
    of_any_set = plan._replace(seed=0, count=0, names="")  # so that what is compiled serves all sets of this kind
    return _pick_group(root_key(plan.seed), jnp.int32(first), of_any_set)


def root_key(seed: int) -> PRNGKey:
    """Picture i of a mask set has the i-th key folded in from this one."""
    return jax.random.key(seed, impl="threefry2x32")


def draw_hole(key: PRNGKey, *, recipe: str, size: int) -> Bool[Array, "S S"]:
    """One hole of any of `MASK_RECIPES`, without a limit on its area."""
    if recipe == FULL:
        return jnp.ones((size, size), bool)
    if recipe == BOXES:
        boxes = find_recipe("thick_256").scaled(size).boxes
        return fill_boxes(random_boxes(key, height=size, width=size, boxes=boxes), height=size, width=size)
    return draw_mask(key, height=size, width=size, recipe=find_recipe(recipe).scaled(size))[..., 0] > 0.5


@functools.partial(jax.jit, static_argnames="plan")
def _pick_group(root: PRNGKey, first: Int32[Array, ""], plan: MaskPlan) -> tuple[Array, Array, Array]:
    return jax.lax.map(lambda i: pick_mask(jax.random.fold_in(root, i), plan), first + jnp.arange(AT_ONCE))


def _draw_group(
    folder: Path, group: Sequence[str], start: int, found: Sequence[float | None], plan: MaskPlan
) -> list[float | None]:
    """Writes the masks of one group that are missing; returns all areas, with None for pictures without a mask."""
    areas = []
    drawn = jax.device_get(pick_masks(plan, start))
    for name, mask, pixels, accepted, known in zip(group, *(part[: len(group)] for part in drawn), found, strict=True):
        if known is None and (accepted or plan.when_rejected == "smallest"):
            _save(folder / f"{name}.png", mask)
            known = float(pixels) / plan.size**2
        areas.append(known)
    return areas


def _begin(folder: Path, plan: MaskPlan) -> None:
    path = folder / MANIFEST
    if not path.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder} is not empty, and no mask set was begun there; give an empty or a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, {"complete": False, "plan": plan._asdict(), "versions": _versions()})
        return
    try:
        begun = dict(json.loads(path.read_text(encoding="utf-8"))["plan"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not the manifest of a mask set ({type(error).__name__}: {error})") from error
    changed = [f"{name} was {begun.get(name)} and is {value}" for name, value in plan._asdict().items() if begun.get(name) != value]
    if changed:
        raise InputError(f"{folder} holds masks of another plan ({', '.join(changed)}); give a new folder")


def _write_manifest(folder: Path, plan: MaskPlan, areas: dict[str, float | None]) -> None:
    kept = {name: area for name, area in areas.items() if area is not None}
    values: Float[np.ndarray, " n"] = np.array(list(kept.values()))
    document = {
        "complete": True,
        "plan": plan._asdict(),
        "versions": json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["versions"],
        "masks": len(kept),
        "mean_area": float(values.mean()) if len(kept) else None,
        "rejected": [name for name, area in areas.items() if area is None],
        "kept": kept,
    }
    _write(folder / MANIFEST, document)


def _versions() -> dict[str, str]:
    """What the random numbers depend on."""
    partitionable = getattr(jax.config, "jax_threefry_partitionable", True)
    return {"generator": "threefry2x32", "partitionable": str(partitionable), "jax": version("jax")}


def _area_of(path: Path, size: int) -> float | None:
    """Area of a mask that an earlier call wrote; None if it is missing, or is not a mask of this size."""
    try:
        with Image.open(path) as image:
            mask = np.asarray(image)
    except Exception:  # Pillow's decoders raise whatever they stumble over; the file is written again
        return None
    if mask.shape != (size, size) or not np.isin(mask, (0, 255)).all():
        return None
    return np.count_nonzero(mask) / size**2


def _save(path: Path, mask: UInt8[np.ndarray, "S S"]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    Image.fromarray(mask).save(temporary, format="PNG", optimize=False)
    temporary.replace(path)


def _write(path: Path, document: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)

"""The grammar that names an evaluation set on a command line."""

from collections import Counter
from pathlib import Path

from asym_jax.data.evaluation_sets.chosen import first_with_masks
from asym_jax.data.evaluation_sets.cocoee import open_cocoee
from asym_jax.data.evaluation_sets.examples import EvaluationSet
from asym_jax.data.evaluation_sets.folders import open_folder, open_pairs
from asym_jax.data.evaluation_sets.imagenet import open_imagenet
from asym_jax.data.evaluation_sets.karpathy import EachCaption, open_karpathy
from asym_jax.data.evaluation_sets.masks import find_masks
from asym_jax.data.evaluation_sets.places import open_places
from asym_jax.errors import InputError

GRAMMAR = (
    "DIR, LIST.txt, pairs:DIR, imagenet:DIR[#PER_CLASS], places365:DIR, places365:tfds:NAME_OR_DIR[/SPLIT], cocoee:DIR, "
    "coco-karpathy:DIR[#SPLIT], or coco-captions:DIR[#SPLIT]"
)


def open_evaluation_set(
    spec: str,
    *,
    size: int,
    sizing: str | None = None,
    masks: str | Path | None = None,
    seed: int = 0,
    limit: int | None = None,
) -> EvaluationSet:
    """The set that a command names, at `size` pixels.

    * `DIR`, `LIST.txt` (or with `folder:` before it): see `open_folder`;
    * `pairs:DIR`: see `open_pairs`;
    * `imagenet:DIR`, or `imagenet:DIR#3` for three pictures of each class, chosen by `seed`: see `open_imagenet`;
    * `places365:...`: see `open_places`;
    * `cocoee:DIR`: see `open_cocoee`;
    * `coco-karpathy:DIR[#SPLIT]`: see `open_karpathy`; `coco-captions:` has an example for each caption instead, and no masks.

    Args:
        sizing: one of `SIZINGS`; each set has its own by default.
        masks: a recipe or a folder, see `find_masks`; they replace masks that the set has itself. Pictures for which every
            hole was too large, for a recipe with a limit or a set of `tools/make_masks.py`, are passed over: see `left_out`.
        limit: only the first so many examples.

    Raises:
        InputError: the set is not there, or not complete, or `spec` has another form, or two pictures share a name.
    """
    found = _open(spec, size=size, sizing=sizing, masks=masks, seed=seed)
    _require_names_of_their_own(spec, found)
    return first_with_masks(found, limit)


def _open(spec: str, *, size: int, sizing: str | None, masks: str | Path | None, seed: int) -> EvaluationSet:
    kind, colon, place = spec.partition(":")
    if not colon or kind == "folder":
        return open_folder(_path(place or spec), size=size, sizing=sizing, masks=find_masks(masks))
    place, _, part = place.partition("#")
    settings = dict(size=size, sizing=sizing, masks=find_masks(masks))
    if kind == "pairs" and place:
        return open_pairs(_path(place), **settings)
    if kind == "imagenet" and place:
        if part and not (part.isdecimal() and int(part)):
            raise InputError(f"{spec}: expected a number of pictures per class after #, as in imagenet:DIR#3")
        return open_imagenet(_path(place), per_class=int(part) if part else None, seed=seed, **settings)
    if kind == "places365" and place:
        return open_places(place if place.startswith("tfds:") else str(_path(place)), **settings)
    if kind == "cocoee" and place:
        return open_cocoee(_path(place), **settings)
    if kind in ("coco-karpathy", "coco-captions") and place:
        if masks and kind == "coco-captions":
            raise InputError(f"{spec} has an example for each caption, to be drawn whole; for masks, give coco-karpathy:{place}")
        pictures = open_karpathy(_path(place), split=part or "test", **settings)
        return EachCaption(pictures) if kind == "coco-captions" else pictures
    if Path(spec).exists():  # a path with a colon in it
        return open_folder(_path(spec), **settings)
    raise InputError(f"unknown evaluation set {spec!r}: expected {GRAMMAR}")


def _require_names_of_their_own(spec: str, examples: EvaluationSet) -> None:
    """Raises InputError if what is made of one picture would be written over what is made of another."""
    counted = Counter(examples.name(i) for i in range(len(examples)))
    twice = [name for name, count in counted.items() if count > 1]
    if twice:
        some = ", ".join(twice[:5]) + ", ..." * (len(twice) > 5)
        raise InputError(f"{spec}: {len(twice)} names belong to several pictures: {some}. Each needs a name of its own")


def _path(place: str) -> Path:
    try:
        return Path(place).expanduser().absolute()
    except RuntimeError as error:  # ~somebody without a home
        raise InputError(f"{place}: {error}") from error

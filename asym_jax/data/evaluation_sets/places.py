"""The validation pictures of Places365: its own archives, or as TensorFlow Datasets prepares them."""

from pathlib import Path

from asym_jax.data.evaluation_sets.examples import EvaluationSet, FileSet
from asym_jax.data.evaluation_sets.masks import Masks
from asym_jax.data.pictures import Picture
from asym_jax.data.prepared import PreparedSource, open_prepared
from asym_jax.errors import InputError

FOLDERS = ("val_256", "val_large")
"""Of the archives; the paper's pictures have 256 pixels."""
PREPARED = "places365_small"
SPLIT = "validation"


class PlacesFiles(FileSet):
    """Pictures of val_256 or val_large, in the order of their names."""

    sizing = "enlarge_256"


class PreparedPlaces(EvaluationSet):
    """One split of `places365_small`, in the order in which it was stored."""

    sizing = "enlarge_256"

    def __init__(self, source: PreparedSource, *, size: int, sizing: str | None = None, masks: Masks | None = None) -> None:
        super().__init__(len(source), size=size, sizing=sizing, masks=masks)
        self.source = source

    def picture(self, index: int) -> Picture:
        return self.source.read(index)  # by itself the source would put another picture in the place of a broken one

    def name(self, index: int) -> str:
        return Path(self.source.text(index, "filename") or f"{self.source.split}_{index:06}").stem


def open_places(place: str, *, size: int, sizing: str | None = None, masks: Masks | None = None) -> EvaluationSet:
    """`DIR`, which is or contains `val_256` (preferred) or `val_large`; or `tfds:NAME_OR_DIR[/SPLIT]`, by default validation.

    The paper's pictures are 256 pixels large and enlarged to 512, which is the sizing unless another is chosen.

    Raises:
        InputError: there are no such pictures.
    """
    settings = dict(size=size, sizing=sizing, masks=masks)
    kind, _, name = place.partition(":")
    if kind == "tfds":
        whole = name or PREPARED
        named_split = Path(whole).name in (SPLIT, "train", "test") or "[" in whole
        return PreparedPlaces(open_prepared(whole if named_split else f"{whole}/{SPLIT}"), **settings)
    folder = Path(place)
    for candidate in (*(folder / name for name in FOLDERS), folder):
        paths = sorted(candidate.glob("Places365_val_*.jpg"))
        if paths:
            return PlacesFiles(paths, [path.stem for path in paths], **settings)
    raise InputError(
        f"places365:{place}: no validation pictures there; expected Places365_val_00000001.jpg, ... in it, or in its folder "
        f"{' or '.join(FOLDERS)}; or places365:tfds:{PREPARED} for a data set that TensorFlow Datasets prepared"
    )

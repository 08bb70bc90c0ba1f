"""Captioned pictures of MS-COCO in Karpathy's split, and each of their captions as an example of its own."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asym_jax.data.evaluation_sets.examples import EvaluationExample, EvaluationSet, FileSet, require_files
from asym_jax.data.evaluation_sets.masks import Masks
from asym_jax.errors import InputError

DOCUMENT = "dataset_coco.json"
LAYOUT = f"expected {DOCUMENT} (of caption_datasets.zip; also in a folder karpathy or annotations) and val2014/COCO_val2014_*.jpg"


class KarpathySet(FileSet):
    """Pictures with about five captions each."""

    def __init__(
        self,
        paths: list[Path],
        captions: Sequence[tuple[str, ...]],
        *,
        size: int,
        sizing: str | None = None,
        masks: Masks | None = None,
    ) -> None:
        super().__init__(paths, [path.stem for path in paths], size=size, sizing=sizing, masks=masks)
        self._captions = captions

    def captions(self, index: int) -> tuple[str, ...]:
        return self._captions[index]


class EachCaption(EvaluationSet):
    """One example for each caption of another set, called NAME_0, NAME_1, ...; about 25,000 of the 5,000 test pictures."""

    def __init__(self, pictures: EvaluationSet) -> None:
        self.pictures = pictures
        self._places = [(i, j) for i in range(len(pictures)) for j in range(len(pictures.captions(i)))]
        super().__init__(len(self._places), size=pictures.size, sizing=pictures.rule.name, masks=pictures.masks)

    def name(self, index: int) -> str:
        picture, caption = self._places[index]
        return f"{self.pictures.name(picture)}_{caption}"

    def captions(self, index: int) -> tuple[str, ...]:
        picture, caption = self._places[index]
        return (self.pictures.captions(picture)[caption],)

    def __getitem__(self, index: int) -> EvaluationExample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        example = self.pictures[self._places[index][0]]
        return example._replace(index=index, name=self.name(index), captions=self.captions(index))


def open_karpathy(
    folder: Path, *, size: int, split: str = "test", sizing: str | None = None, masks: Masks | None = None
) -> KarpathySet:
    """The pictures of one split, in the order of the document; pictures lie in `folder` or in its folder `images`.

    Raises:
        InputError: the document or pictures are missing, or it has no such split.
    """
    document = next((path for part in ("", "karpathy", "annotations") if (path := folder / part / DOCUMENT).is_file()), None)
    if document is None:
        raise InputError(f"coco-karpathy:{folder}: no {DOCUMENT} there; {LAYOUT}")
    entries = _entries(document)
    chosen = [entry for entry in entries if entry["split"] == split]
    if not chosen:
        splits = ", ".join(sorted({entry["split"] for entry in entries}))
        raise InputError(f"coco-karpathy:{folder}: {DOCUMENT} has no split {split!r}; it has {splits or 'none'}")
    parts = [Path(entry["folder"], entry["file"]) for entry in chosen]
    root = next((place for place in (folder, folder / "images") if (place / parts[0]).is_file()), folder)
    paths = [root / part for part in parts]
    require_files(f"coco-karpathy:{folder}", paths)
    return KarpathySet(paths, [entry["captions"] for entry in chosen], size=size, sizing=sizing, masks=masks)


def _entries(document: Path) -> list[dict[str, Any]]:
    try:
        images = json.loads(document.read_text(encoding="utf-8"))["images"]
        return [
            {
                "split": image["split"],
                "folder": image["filepath"],
                "file": image["filename"],
                "captions": tuple(sentence["raw"].strip() for sentence in image["sentences"]),
            }
            for image in images
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{document} is not Karpathy's {DOCUMENT} ({type(error).__name__}: {error})") from error

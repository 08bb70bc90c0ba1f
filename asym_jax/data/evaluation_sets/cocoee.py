"""COCOEE, the test bench of Paint-by-Example: pictures, boxes and what is to appear in them."""

import re
from pathlib import Path

from asym_jax.data.evaluation_sets.examples import FileSet, require_files
from asym_jax.data.evaluation_sets.masks import Masks
from asym_jax.data.pictures import Picture, read_picture
from asym_jax.errors import InputError

PICTURES, MASKS, REFERENCES = "GT_3500", "Mask_bbox_3500", "Ref_3500"
LAYOUT = (
    f"expected {PICTURES}/000000000000_GT.png, {MASKS}/000000000000_mask.png and {REFERENCES}/000000000000_ref.png, "
    "with twelve digits each, as the archive test_bench.zip of Paint-by-Example has them"
)


class CocoeeSet(FileSet):
    """Triples of picture, mask (white is the box to be filled) and reference, by number."""

    sizing = "exact"

    def __init__(self, folder: Path, numbers: list[str], *, size: int, sizing: str | None = None, masks: Masks | None = None):
        pictures, boxes, references = (
            [folder / part / f"{number}_{suffix}.png" for number in numbers]
            for part, suffix in ((PICTURES, "GT"), (MASKS, "mask"), (REFERENCES, "ref"))
        )
        super().__init__(pictures, numbers, boxes, size=size, sizing=sizing, masks=masks)
        self.references = references

    def reference(self, index: int) -> Picture:
        return read_picture(self.references[index])


def open_cocoee(folder: Path, *, size: int, sizing: str | None = None, masks: Masks | None = None) -> CocoeeSet:
    """The test bench in `folder`, or in its folder `test_bench`; all pictures are 512 pixels large.

    Raises:
        InputError: it is not there, or a file of a triple is missing.
    """
    for candidate in (folder, folder / "test_bench"):
        found = candidate.glob(f"{PICTURES}/*_GT.png")
        numbers = sorted(match[1] for path in found if (match := re.fullmatch(r"(\d{12})_GT\.png", path.name)))
        if numbers:
            triples = CocoeeSet(candidate, numbers, size=size, sizing=sizing, masks=masks)
            require_files(f"cocoee:{folder}", [*triples.mask_paths, *triples.references])
            return triples
    raise InputError(f"cocoee:{folder}: no such test bench there; {LAYOUT}")

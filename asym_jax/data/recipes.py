"""The settings of LaMa's random masks (Suvorov et al., WACV 2022; `random_thick_256.yaml` and its siblings).

`thick_256` is what the asymmetric decoder was trained with (arXiv 2306.04632).
"""

import dataclasses

from asym_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Boxes:
    """Rectangles: their number, sides in pixels, and distance from the picture's border. All ranges inclusive."""

    margin: int
    min_side: int
    max_side: int
    min_count: int
    max_count: int


@dataclasses.dataclass(frozen=True)
class MaskRecipe:
    """How holes are drawn in pictures of `size` pixels; names and numbers follow LaMa's files.

    Attributes:
        min_strokes, max_strokes: of a brush mask. LaMa's code draws one more than it says: U{min..max + 1}.
        max_width: brush width is `min_width` + U{0..max_width - 1}.
        max_length: length of one straight segment is `min_length` + U{0..max_length - 1}.
        boxes: settings of the masks made of rectangles, 0.3 / 1.3 of all; None for brush masks only.
    """

    size: int
    min_strokes: int
    max_strokes: int
    max_width: int
    max_length: int
    boxes: Boxes | None = None
    min_width: int = 5
    min_length: int = 10

    def scaled(self, size: int) -> "MaskRecipe":
        """The same look in pictures of another size: every width, length, side and margin in proportion.

        Nothing but a margin falls below one pixel, and the smallest box still fits. Counts stay.
        """
        if size == self.size:
            return self

        def scale(pixels: int) -> int:
            return max(1, round(pixels * size / self.size))

        names = ("min_width", "max_width", "min_length", "max_length")
        boxes = self.boxes
        if boxes:
            # Rounded down, twice the margin and one box always fit.
            margin = boxes.margin * size // self.size
            boxes = dataclasses.replace(boxes, margin=margin, min_side=scale(boxes.min_side), max_side=scale(boxes.max_side))
        return dataclasses.replace(self, size=size, boxes=boxes, **{name: scale(getattr(self, name)) for name in names})


RECIPES: dict[str, MaskRecipe] = {
    "thin_256": MaskRecipe(256, 4, 50, max_width=10, max_length=40),
    "medium_256": MaskRecipe(256, 4, 5, max_width=50, max_length=100, boxes=Boxes(0, 10, 50, 1, 5)),
    "thick_256": MaskRecipe(256, 1, 5, max_width=100, max_length=200, boxes=Boxes(10, 30, 150, 1, 3)),
    "thin_512": MaskRecipe(512, 4, 70, max_width=20, max_length=100),
    "medium_512": MaskRecipe(512, 4, 10, max_width=100, max_length=200, boxes=Boxes(0, 30, 150, 1, 5)),
    "thick_512": MaskRecipe(512, 1, 5, max_width=250, max_length=450, boxes=Boxes(10, 30, 300, 1, 4)),
}


def find_recipe(name: str) -> MaskRecipe:
    """The recipe of that name.

    Raises:
        InputError: there is none; the message lists all names.
    """
    if name not in RECIPES:
        raise InputError(f"unknown mask recipe {name!r}: expected one of {', '.join(RECIPES)}")
    return RECIPES[name]

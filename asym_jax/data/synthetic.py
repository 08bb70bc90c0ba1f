"""Procedurally drawn pictures, for demonstrations and tests without a data set.

Posters, diagrams and signs: smooth backgrounds, shapes, fine structure and text,
which are what Stable Diffusion's autoencoder damages most.
"""

import numpy as np

from asym_jax.data.pictures import Picture
from asym_jax.data.scenery import ELEMENTS, background, random_palette

OVERSAMPLING = 2
"""Scenes are drawn this much larger and averaged down, because Pillow draws jagged edges."""


class SyntheticSource:
    """`length` square pictures of side `size`; picture i is a function of (seed, i) alone."""

    def __init__(self, length: int = 20_000, seed: int = 0, size: int = 192) -> None:
        self.length, self.seed, self.size = length, seed, size
        self.skipped: dict[str, str] = {}  # nothing here is ever unreadable

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Picture:
        if not 0 <= index < self.length:
            raise IndexError(index)
        return draw_scene(np.random.default_rng([self.seed, index]), self.size)

    def __repr__(self) -> str:
        return f"SyntheticSource(length={self.length}, seed={self.seed}, size={self.size})"

    def name(self, index: int) -> str:
        return f"synthetic_{self.seed}_{index:06d}"


def draw_scene(rng: np.random.Generator, size: int) -> Picture:
    """One scene, (size, size, 3): a background and a handful of elements in the colours of one palette."""
    palette = random_palette(rng)
    canvas = background(rng, palette, size * OVERSAMPLING)
    kinds = [kind for kind, _ in ELEMENTS]
    weights = np.array([weight for _, weight in ELEMENTS], float)
    # The largest come first, so that text and lines end on top of areas.
    chosen = sorted(rng.choice(len(kinds), size=int(rng.integers(5, 10)), p=weights / weights.sum()))
    for i in chosen:
        kinds[i](canvas, rng, palette)
    return np.array(canvas.reduce(OVERSAMPLING))

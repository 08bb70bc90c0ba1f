"""Overlapping parts of an axis that is too long to be worked on at once."""

import itertools
from typing import NamedTuple

HALO = 4
"""Latents that a window sees beyond what is kept of it. A 3x3 convolution needs one, two of them and the condition encoder less
than four together."""


class Window(NamedTuple):
    """Part of one axis, in latents."""

    start: int
    size: int
    kept: tuple[int, int]  # of the whole axis: first, and one after the last

    def scaled(self, scale: int) -> slice:
        """The window, where a latent has become `scale` positions."""
        return slice(self.start * scale, (self.start + self.size) * scale)

    def kept_inside(self, scale: int = 1) -> slice:
        """What is kept, counted from the start of the window."""
        return slice((self.kept[0] - self.start) * scale, (self.kept[1] - self.start) * scale)


Place = tuple[Window, Window]
"""Rows and columns."""


def windows(length: int, *, most: int) -> list[Window]:
    """Covers an axis with as few equal windows of at most `most` latents as see `HALO` on each side of what is kept.

    They never reach beyond the axis, so that zeros are padded where they are for the whole picture.

    Raises:
        ValueError: `most` leaves nothing between the halos.
    """
    if length <= most:
        return [Window(0, length, (0, length))]
    if most <= 2 * HALO:
        raise ValueError(f"windows of {most} latents leave nothing between two halos of {HALO}")
    count = -(-(length - 2 * HALO) // (most - 2 * HALO))
    size = -(-(length + 2 * HALO * (count - 1)) // count)
    starts = [i * (length - size) // (count - 1) for i in range(count)]
    cuts = [0, *((last + size + start) // 2 for last, start in itertools.pairwise(starts)), length]
    return [Window(start, size, kept) for start, kept in zip(starts, itertools.pairwise(cuts), strict=True)]


def area(place: Place) -> int:
    """How many latents are kept of a window."""
    (top, bottom), (left, right) = (one.kept for one in place)
    return (bottom - top) * (right - left)

"""The two kinds of holes in LaMa's random masks, brush strokes and boxes: drawing their numbers, and their pixels.

Coordinates are whole pixels, x before y. All geometry is exact on every backend:
integers, and float32 products that only ever round the two sides of a comparison.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Int32

from asym_jax.arrays import PRNGKey
from asym_jax.data.recipes import Boxes, MaskRecipe

ANGLES = 4
"""Directions of a segment: 0.01 + {0, 1, 2, 3} rad, from straight down to the right, or to the left in every other stroke."""
SEGMENTS = 5
"""Most straight segments that one stroke may have."""

Hole = Bool[Array, "H W"]


class Strokes(NamedTuple):
    """k straight segments of round brushes."""

    segments: Int32[Array, "k 4"]  # x and y of the start, x and y of the end
    widths: Int32[Array, " k"]
    active: Bool[Array, " k"]  # the others are not drawn


class Rectangles(NamedTuple):
    """k boxes of pixels left..right-1, top..bottom-1."""

    edges: Int32[Array, "k 4"]  # left, top, right, bottom
    active: Bool[Array, " k"]


def random_strokes(key: PRNGKey, *, height: int, width: int, recipe: MaskRecipe) -> Strokes:
    """Draws a brush mask's strokes: broken lines of 1 to 5 segments from random starts.

    Ends are clipped to 0..width and 0..height, one pixel beyond the picture, as the next segment's start too. There are
    eight directions: the strokes 0, 2, 4, ... go to the left and the others to the right, so that masks lean to the left.
    """
    slots = recipe.max_strokes + 1
    draws = _uniform(key, (7, SEGMENTS, slots))
    count = _between(draws[0, 0, 0], recipe.min_strokes, slots)
    pieces = _between(draws[1, :1], 1, SEGMENTS)
    x = _between(draws[2, 0], 0, width - 1)
    y = _between(draws[3, 0], 0, height - 1)
    angle = _between(draws[4], 0, ANGLES - 1)
    length = _between(draws[5], 0, recipe.max_length - 1)
    widths = recipe.min_width + _between(draws[6], 0, recipe.max_width - 1)

    parity = jnp.broadcast_to(jnp.arange(slots) % 2, (SEGMENTS, slots))
    moves = jnp.asarray(_displacements(recipe))[parity, angle, length]
    border = jnp.broadcast_to(jnp.array([width, height], jnp.int32), (slots, 2))

    def walk(start: Int[Array, "s 2"], move: Int[Array, "s 2"]) -> tuple[Int[Array, "s 2"], Int[Array, "s 4"]]:
        end = jnp.clip(start + move, 0, border)
        return end, jnp.concatenate([start, end], axis=1)

    _, segments = jax.lax.scan(walk, jnp.stack([x, y], axis=1), moves)
    active = (jnp.arange(SEGMENTS)[:, None] < pieces) & (jnp.arange(slots)[None] < count)
    return Strokes(segments.reshape(-1, 4), widths.reshape(-1), active.reshape(-1))


def fill_strokes(strokes: Strokes, *, height: int, width: int) -> Hole:
    """The union of the segments as `cv2.line` draws them.

    OpenCV's ends are discs of radius R = (width + 1) // 2, and the body between them reaches half a pixel further to either
    side, because its outline is drawn too. (Measured on OpenCV: of segments of width 5 and more, 0.2% of the area differ.)
    """
    x = jnp.arange(width, dtype=jnp.float32)[None]
    y = jnp.arange(height, dtype=jnp.float32)[:, None]

    def add(hole: Hole, stroke: Strokes) -> tuple[Hole, None]:
        x0, y0, x1, y1 = stroke.segments.astype(jnp.float32)
        radius = ((stroke.widths + 1) // 2).astype(jnp.float32)
        dx, dy = x1 - x0, y1 - y0
        squared_length = dx * dx + dy * dy
        nearer_end = jnp.minimum((x - x0) ** 2 + (y - y0) ** 2, (x - x1) ** 2 + (y - y1) ** 2)
        along = (x - x0) * dx + (y - y0) * dy
        across = (x - x0) * dy - (y - y0) * dx
        body = (along >= 0) & (along <= squared_length) & (across**2 <= (radius + 0.5) ** 2 * squared_length)
        drawn = (nearer_end <= radius * radius) | (body & (squared_length > 0))
        return hole | (drawn & stroke.active), None

    return jax.lax.scan(add, jnp.zeros((height, width), bool), strokes)[0]


def random_boxes(key: PRNGKey, *, height: int, width: int, boxes: Boxes) -> Rectangles:
    """Draws the rectangles of a box mask. Raises ValueError if not even the smallest fits within the margins."""
    room = min(height, width) - 2 * boxes.margin
    if boxes.min_side > room:
        raise ValueError(
            f"boxes of {boxes.min_side} pixels do not fit into {height}x{width} within their margins: scale the recipe"
        )
    draws = _uniform(key, (3, boxes.max_count, 2))
    count = _between(draws[0, 0, 0], boxes.min_count, boxes.max_count)
    largest = max(boxes.min_side, min(boxes.max_side, room - 1))  # LaMa's bound is exclusive when the room limits it
    sides = _between(draws[1], boxes.min_side, largest)
    last = jnp.array([[width, height]], jnp.int32) - boxes.margin - sides
    corners = _between(draws[2], boxes.margin, last)
    return Rectangles(jnp.concatenate([corners, corners + sides], axis=1), jnp.arange(boxes.max_count) < count)


def fill_boxes(rectangles: Rectangles, *, height: int, width: int) -> Hole:
    """The union of the rectangles."""
    x = jnp.arange(width)[None, None]
    y = jnp.arange(height)[None, :, None]
    left, top, right, bottom = rectangles.edges.T[:, :, None, None]
    inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
    return jnp.any(inside & rectangles.active[:, None, None], axis=0)


def _uniform(key: PRNGKey, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Numbers in [0, 1), all from one flat call of the generator: on CPUs any other form compiles several times longer."""
    return jax.random.uniform(key, (math.prod(shape),)).reshape(shape)


def _between(uniform: Float[Array, "*k"], first: int, last: int | Int32[Array, "*k"]) -> Int32[Array, "*k"]:
    """Whole numbers first..last, both included, from numbers in [0, 1)."""
    return first + jnp.floor(uniform * (last - first + 1)).astype(jnp.int32)


def _displacements(recipe: MaskRecipe) -> Int32[np.ndarray, "2 k n 2"]:
    """Steps in x and y by parity of the stroke, angle and length.

    LaMa truncates (start + step) and clips it to 0 and above; flooring the step gives the same. The table is made in float64
    because float32 sines differ between backends. Its circle is 2 * 3.1415926.
    """
    angles = 0.01 + np.arange(ANGLES)
    turned = np.stack([2 * 3.1415926 - angles, angles])[:, :, None]
    lengths = recipe.min_length + np.arange(recipe.max_length)
    return np.floor(np.stack([lengths * np.sin(turned), lengths * np.cos(turned)], axis=-1)).astype(np.int32)

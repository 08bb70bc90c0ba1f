"""Strokes and boxes: their pixels against OpenCV for the same numbers, and the numbers against their distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from asym_jax.data.holes import Rectangles, Strokes, fill_boxes, fill_strokes, random_boxes, random_strokes
from asym_jax.data.recipes import Boxes, find_recipe

THICK = find_recipe("thick_256")


def opencv_strokes(strokes, height, width):
    cv2 = pytest.importorskip("cv2")
    canvas = np.zeros((height, width), np.uint8)
    for (x0, y0, x1, y1), brush, active in zip(*map(np.asarray, strokes), strict=True):
        if active:
            cv2.line(canvas, (int(x0), int(y0)), (int(x1), int(y1)), 1, int(brush))
    return canvas.astype(bool)


@pytest.mark.parametrize(("height", "width"), [(256, 256), (128, 320)])
def test_same_strokes_cover_the_same_pixels_as_in_opencv(height, width):
    draw = jax.jit(lambda key: random_strokes(key, height=height, width=width, recipe=THICK))
    fill = jax.jit(lambda strokes: fill_strokes(strokes, height=height, width=width))
    overlaps, areas = [], []
    for i in range(150):
        strokes = draw(jax.random.key(i))
        ours, theirs = np.asarray(fill(strokes)), opencv_strokes(strokes, height, width)
        overlaps.append((ours & theirs).sum() / (ours | theirs).sum())
        areas.append(ours.mean() - theirs.mean())
    assert np.mean(overlaps) > 0.997 and min(overlaps) > 0.93
    assert abs(np.mean(areas)) < 2e-4


@pytest.mark.parametrize("brush", [5, 6, 31])
def test_a_dot_is_an_exact_disc(brush):
    dot = Strokes(jnp.array([[20, 30, 20, 30]], jnp.int32), jnp.array([brush], jnp.int32), jnp.array([True]))
    np.testing.assert_array_equal(fill_strokes(dot, height=48, width=64), opencv_strokes(dot, 48, 64))


def many_strokes(count, size):
    draw = jax.vmap(lambda key: random_strokes(key, height=size, width=size, recipe=THICK))
    return jax.tree.map(np.asarray, jax.jit(draw)(jax.random.split(jax.random.key(0), count)))


def assert_uniform(values, first, last, cells=None):
    assert (values.min(), values.max()) == (first, last)
    counts = np.histogram(values, bins=cells or last - first + 1, range=(first, last + 1))[0]
    assert stats.chisquare(counts).pvalue > 1e-3


def test_stroke_numbers_have_the_published_distributions():
    strokes = many_strokes(3000, size=1_000_000)  # so large that next to nothing is clipped
    segments = strokes.segments.reshape(-1, 5, 6, 4)  # picture, segment, stroke
    active = strokes.active.reshape(-1, 5, 6)
    assert_uniform(active[:, 0].sum(1), 1, 6)  # strokes: one more than the 5 of the settings
    assert_uniform(active.sum(1)[active[:, 0]], 1, 5)  # segments of those that are drawn
    assert_uniform(strokes.widths, 5, 104, cells=25)
    assert_uniform(segments[:, 0, :, :2] // 20_000, 0, 49)  # starts
    np.testing.assert_array_equal(segments[:, 1:, :, :2], segments[:, :-1, :, 2:])  # each end is the next start

    step = segments[..., 2:] - segments[..., :2]
    angle = np.arctan2(step[..., 0] + 0.5, step[..., 1] + 0.5)
    assert (step[:, :, 0::2, 0] < 0).mean() > 0.999  # even strokes go left
    assert (step[:, :, 1::2, 0] >= 0).mean() > 0.999  # odd strokes go right
    direction = np.round(np.abs(angle) - 0.01).astype(int)
    assert_uniform(direction, 0, 3)
    steepest = step[..., 1][direction == 0]  # cos 0.01 shortens no length by a whole pixel
    assert_uniform(steepest[steepest >= 9] + 1, 10, 209, cells=40)


def test_ends_are_clipped_one_pixel_beyond_the_picture():
    draw = jax.jit(jax.vmap(lambda key: random_strokes(key, height=32, width=64, recipe=THICK)))
    segments = draw(jax.random.split(jax.random.key(0), 50)).segments.reshape(-1, 4)
    np.testing.assert_array_equal(segments.min(0), [0, 0, 0, 0])
    np.testing.assert_array_equal(segments.max(0), [64, 32, 64, 32])  # starts too, from the second segment on


def test_box_numbers_have_the_published_distributions():
    boxes = Boxes(margin=10, min_side=30, max_side=150, min_count=1, max_count=3)
    draw = jax.jit(jax.vmap(lambda key: random_boxes(key, height=200, width=256, boxes=boxes)))
    edges, active = map(np.asarray, draw(jax.random.split(jax.random.key(1), 4000)))
    assert_uniform(active.sum(1), 1, 3)
    corners, sides = edges[..., :2], edges[..., 2:] - edges[..., :2]
    assert_uniform(sides[..., 0], 30, 150, cells=11)
    assert_uniform(sides[..., 1], 30, 150, cells=11)
    last = np.array([256, 200]) - 10 - sides
    share = (corners - 10 + 0.5) / (last - 10 + 1)
    assert corners.min() == 10 and ((corners <= last).all())
    assert (edges[..., 2].max(), edges[..., 3].max()) == (246, 190)
    assert_uniform((share * 20).astype(int), 0, 19)


def test_boxes_are_filled_half_open_and_only_if_active():
    rectangles = Rectangles(jnp.array([[1, 2, 4, 3], [0, 0, 6, 4]], jnp.int32), jnp.array([True, False]))
    expected = np.zeros((4, 6), bool)
    expected[2, 1:4] = True
    np.testing.assert_array_equal(fill_boxes(rectangles, height=4, width=6), expected)


def test_boxes_without_room_are_refused():
    with pytest.raises(ValueError, match="scale the recipe"):
        random_boxes(jax.random.key(0), height=40, width=256, boxes=THICK.boxes)

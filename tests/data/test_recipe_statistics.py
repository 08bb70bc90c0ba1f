"""All six recipes against frozen statistics of LaMa's own generator (20,000 masks each), where OpenCV is not at hand."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from asym_jax.data.holes import fill_boxes, random_boxes
from asym_jax.data.masks import draw_mask, find_recipe
from asym_jax.data.recipes import RECIPES, Boxes, MaskRecipe

MEAN_AREA = {  # brush strokes, boxes, both as they are mixed; share of masks with more than half of the area
    "thin_256": (0.295, None, 0.295, 0.027),
    "medium_256": (0.302, 0.041, 0.242, 0.010),
    "thick_256": (0.456, 0.213, 0.399, 0.347),
    "thin_512": (0.295, None, 0.295, 0.035),
    "medium_512": (0.369, 0.088, 0.305, 0.113),
    "thick_512": (0.525, 0.219, 0.454, 0.437),
}
THICK_QUANTILES = {
    0.01: 0.031,
    0.05: 0.076,
    0.10: 0.115,
    0.25: 0.217,
    0.50: 0.376,
    0.75: 0.578,
    0.90: 0.706,
    0.95: 0.767,
    0.99: 0.858,
}


@functools.partial(jax.jit, static_argnames=("count", "recipe"))
def areas(key, *, count, recipe):
    draw = functools.partial(draw_mask, height=recipe.size, width=recipe.size, recipe=recipe)
    return jax.lax.map(lambda key: draw(key).mean(), jax.random.split(key, count), batch_size=8)


@functools.partial(jax.jit, static_argnames=("count", "recipe"))
def box_areas(key, *, count, recipe):
    def draw(key):
        boxes = random_boxes(key, height=recipe.size, width=recipe.size, boxes=recipe.boxes)
        return fill_boxes(boxes, height=recipe.size, width=recipe.size).mean()

    return jax.lax.map(draw, jax.random.split(key, count), batch_size=8)


def assert_mean(values, expected):
    """Within four standard errors, ours and the table's, and its rounding."""
    error = values.std() * (1 / len(values) + 1 / 20_000) ** 0.5
    assert abs(values.mean() - expected) < 4 * error + 0.0005


@pytest.mark.parametrize("name", [name if "256" in name else pytest.param(name, marks=pytest.mark.slow) for name in MEAN_AREA])
def test_published_areas(name):
    recipe, (strokes, boxes, mixed, large) = find_recipe(name), MEAN_AREA[name]
    count = {"thin_256": 400, "medium_256": 800, "thick_256": 1000, "thin_512": 250}.get(name, 1200)
    found = np.asarray(areas(jax.random.key(1), count=count, recipe=recipe))
    assert_mean(found, mixed)
    assert_mean(found > 0.5, large)
    if recipe.boxes:
        assert_mean(np.asarray(areas(jax.random.key(2), count=count, recipe=dataclasses.replace(recipe, boxes=None))), strokes)
        assert_mean(np.asarray(box_areas(jax.random.key(3), count=count, recipe=recipe)), boxes)
    else:
        assert boxes is None and strokes == mixed


def test_every_recipe_has_its_statistics():
    assert MEAN_AREA.keys() == RECIPES.keys()


@pytest.mark.slow
def test_quantiles_of_thick_masks():
    count = 5000
    found = np.asarray(areas(jax.random.key(4), count=count, recipe=find_recipe("thick_256")))
    for quantile, area in THICK_QUANTILES.items():
        error = (quantile * (1 - quantile) * (1 / count + 1 / 20_000)) ** 0.5
        assert abs((found <= area).mean() - quantile) < 4 * error + 0.002, quantile


def test_one_box_mask_for_three_and_a_third_brush_masks():
    """Boxes that always fill the picture, and strokes that never do, tell the two kinds apart."""
    recipe = MaskRecipe(64, 1, 1, max_width=1, max_length=2, boxes=Boxes(0, 64, 64, 1, 1))
    full = areas(jax.random.key(5), count=4000, recipe=recipe) == jnp.float32(1)
    assert stats.binomtest(int(full.sum()), 4000, 0.3 / 1.3).pvalue > 1e-3

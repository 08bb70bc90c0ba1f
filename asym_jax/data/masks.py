"""LaMa's random masks as pure functions of a key, to be drawn inside the training step.

No device or host state takes part, so a step's masks depend on its key alone.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from asym_jax.arrays import Mask, PRNGKey
from asym_jax.data.holes import fill_boxes, fill_strokes, random_boxes, random_strokes
from asym_jax.data.recipes import RECIPES, MaskRecipe, find_recipe

__all__ = ["BOX_SHARE", "RECIPES", "MaskRecipe", "draw_mask", "draw_masks", "find_recipe", "fixed_masks"]

FIXED_SEED = 20230607
"""Seed of `fixed_masks`: the day the paper appeared."""

BOX_SHARE = 0.3 / 1.3
"""Share of box masks in recipes that have any: LaMa's weights are 1 for strokes and 0.3 for boxes."""


def draw_mask(key: PRNGKey, *, height: int, width: int, recipe: MaskRecipe) -> Float[Array, "H W 1"]:
    """One mask of zeros and ones, 1 = hole: brush strokes, or else (`BOX_SHARE`) boxes.

    Lengths are those of the recipe whatever the picture's size: see `MaskRecipe.scaled`. Distances are exact up to sides
    of 2048 pixels. Like the released training code this neither rejects large holes nor avoids empty ones.
    """
    kind_key, hole_key = jax.random.split(key)
    hole = fill_strokes(random_strokes(hole_key, height=height, width=width, recipe=recipe), height=height, width=width)
    if recipe.boxes:
        boxes = fill_boxes(random_boxes(hole_key, height=height, width=width, boxes=recipe.boxes), height=height, width=width)
        hole = jnp.where(jax.random.bernoulli(kind_key, BOX_SHARE), boxes, hole)
    return hole[..., None].astype(jnp.float32)


def draw_masks(key: PRNGKey, *, count: int, height: int, width: int, recipe: MaskRecipe, full_probability: float) -> Mask:
    """A batch of masks, each all ones with `full_probability` and from `draw_mask` otherwise.

    Mask i depends on `key` and i alone: not on `count`, nor on how the batch is sharded.
    """

    def draw(index: Array) -> Float[Array, "H W 1"]:
        full_key, mask_key = jax.random.split(jax.random.fold_in(key, index))
        mask = draw_mask(mask_key, height=height, width=width, recipe=recipe)
        return jnp.where(jax.random.bernoulli(full_key, full_probability), jnp.ones_like(mask), mask)

    return jax.vmap(draw)(jnp.arange(count))


def fixed_masks(recipe: str, *, count: int, size: int) -> Float[np.ndarray, "n S S 1"]:
    """The masks that evaluations use: picture i gets the same hole, scaled to `size`, in every run. None is ever full by a coin.

    Raises:
        InputError: no recipe has that name.
    """
    draw = jax.jit(functools.partial(draw_mask, height=size, width=size, recipe=find_recipe(recipe).scaled(size)))
    root = jax.random.key(FIXED_SEED)
    # In small groups, because thousands of large masks at once would not fit.
    return np.asarray(jax.lax.map(lambda i: draw(jax.random.fold_in(root, i)), jnp.arange(count), batch_size=16))

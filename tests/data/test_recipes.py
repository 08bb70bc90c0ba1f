import dataclasses

import pytest

from asym_jax.data.recipes import RECIPES, find_recipe
from asym_jax.errors import InputError


def test_unknown_names_are_refused_with_all_known_ones():
    with pytest.raises(InputError, match="'huge_256'.*thin_256, medium_256, thick_256, thin_512, medium_512, thick_512"):
        find_recipe("huge_256")
    assert find_recipe("thick_512").max_length == 450


def test_scaling_by_hand():
    thick = find_recipe("thick_256")
    assert thick.scaled(256) == thick
    half = thick.scaled(128)
    assert (half.size, half.max_width, half.max_length, half.min_length) == (128, 50, 100, 5)
    assert (half.min_strokes, half.max_strokes) == (1, 5)
    assert dataclasses.astuple(half.boxes) == (5, 15, 75, 1, 3)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 17, 64, 250, 1000])
@pytest.mark.parametrize("name", RECIPES)
def test_any_size_keeps_every_length_positive_and_boxes_possible(name, size):
    recipe = find_recipe(name).scaled(size)
    assert min(recipe.min_width, recipe.max_width, recipe.min_length, recipe.max_length) >= 1
    if boxes := recipe.boxes:
        assert 1 <= boxes.min_side <= size - 2 * boxes.margin
        assert boxes.min_side <= boxes.max_side

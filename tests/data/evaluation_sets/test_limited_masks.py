"""Recipes with LaMa's limit on the area of a hole: the same masks as those of the program that writes them to files."""

import json

import numpy as np
import pytest
from PIL import Image

from asym_jax.data.evaluation_sets.chosen import first_with_masks
from asym_jax.data.evaluation_sets.examples import EvaluationSet
from asym_jax.data.evaluation_sets.masks import LIMITED, find_masks
from asym_jax.data.mask_sets import plan_masks, write_masks
from asym_jax.errors import InputError

COUNT, SIZE = 200, 16


class Numbers(EvaluationSet):
    """Black pictures called 0, 1, ..."""

    def picture(self, index):
        return np.zeros((SIZE, SIZE, 3), np.uint8)

    def name(self, index):
        return str(index)


def numbers(masks, count=COUNT):
    return Numbers(count, size=SIZE, masks=find_masks(masks))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of the same masks, and the names that have none in it: of 200, about 200 * 0.437^5 = 3."""
    folder = tmp_path_factory.mktemp("masks") / "set"
    names = [str(i) for i in range(COUNT)]
    list(write_masks(folder, names, plan_masks(names, recipe="thick_512", size=SIZE)))
    rejected = json.loads((folder / "manifest.json").read_text())["rejected"]
    assert 0 < len(rejected) < 20
    return folder, rejected


def test_pictures_get_what_a_mask_set_has_for_them(written):
    folder, rejected = written
    found = first_with_masks(numbers("thick_512_limited"))
    assert list(found.left_out) == rejected and len(found) == COUNT - len(rejected)
    for example in (found[i] for i in range(0, len(found), 7)):
        np.testing.assert_array_equal(example.mask[..., 0] * 255, np.asarray(Image.open(folder / f"{example.name}.png")))


def test_no_hole_is_larger_than_half_of_the_picture():
    areas = {}
    for masks in ("thick_512", "thick_512_limited"):
        found = first_with_masks(numbers(masks, 40))
        areas[masks] = np.array([found[i].mask.mean() for i in range(len(found))])
    assert areas["thick_512_limited"].max() <= 0.5 < areas["thick_512"].max()


@pytest.mark.parametrize("more", [0, 1])
def test_a_limit_counts_pictures_that_have_a_mask(written, more):
    """And those beyond it are not looked at: up to the first one that is left out, none is."""
    _, rejected = written
    first = int(rejected[0])
    found = first_with_masks(numbers("thick_512_limited"), first + more)
    names = [found.name(i) for i in range(len(found))]
    assert names == [str(i) for i in range(first)] + [str(first + 1)] * more
    assert list(found.left_out) == rejected[:more]


def test_what_is_done_is_said():
    masks = "thick_512_limited (of 5 drawn, one of those up to 50%; seed 0)"
    assert repr(numbers("thick_512_limited", 2)).endswith(f", masks {masks})")
    assert "thin_256_limited" in LIMITED and "boxes_limited" in LIMITED and "full_limited" not in LIMITED


def test_nothing_to_evaluate_is_an_error(written):
    folder, rejected = written
    with pytest.raises(InputError, match="every picture is left out, because all holes that were drawn are too large"):
        first_with_masks(_Only(int(rejected[0])))


class _Only(Numbers):
    """One picture, with the mask of another number."""

    def __init__(self, index):
        super().__init__(1, size=SIZE, masks=find_masks("thick_512_limited"))
        draw = self.masks.has_none
        self.masks.has_none = lambda _, name, size: draw(index, name, size)

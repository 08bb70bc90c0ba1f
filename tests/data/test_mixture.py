"""Exact shares, whichever stretch is looked at, and nothing held out is trained on."""

import collections

import numpy as np
import pytest
from PIL import Image

from asym_jax.data.mixture import Mixture
from asym_jax.data.objects import ObjectSource
from asym_jax.data.sources import open_source, split
from asym_jax.errors import InputError


def numbered(first: int, count: int) -> ObjectSource:
    """Pictures that show first, first + 1, ..."""
    return ObjectSource([np.full((4, 4, 3), first + i, np.uint8) for i in range(count)], name=f"from {first}")


def shown(source, count):
    return [int(source[i].mean()) for i in range(count)]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [((0.7, 0.3), (7, 3)), (("0.125", "0.5", "0.375"), (1, 4, 3)), ((2, 1), (2, 1)), ((0.333, 0.667), (333, 667))],
)
def test_every_round_holds_the_exact_shares(weights, expected):
    mixture = Mixture([numbered(0, 5)] * len(weights), weights)
    total = sum(expected)
    for first in (0, 3, 10 * total + 1):
        drawn = collections.Counter(mixture.place(i)[0] for i in range(first, first + total))
        assert tuple(drawn[i] for i in range(len(weights))) == expected


def test_shares_stay_within_a_picture_of_the_exact_ones_at_every_moment():
    mixture = Mixture([numbered(0, 5), numbered(10, 5)], (0.83, 0.17))
    given = 0
    for i in range(300):
        given += mixture.place(i)[0] == 0
        assert abs(given - 0.83 * (i + 1)) <= 1


def test_each_component_is_taken_in_turn_without_gaps():
    mixture = Mixture([numbered(0, 5), numbered(10, 5), numbered(20, 5)], (0.5, 0.2, 0.3))
    positions = collections.defaultdict(list)
    for i in range(1000):
        component, position = mixture.place(i)
        positions[component].append(position)
    assert {c: values == list(range(len(values))) for c, values in positions.items()} == {0: True, 1: True, 2: True}


def test_held_out_pictures_come_from_the_end_of_every_component():
    training, held_out = split(Mixture([numbered(0, 20), numbered(100, 9)], (0.7, 0.3)), 10)
    assert len(training) == 19 and len(held_out) == 10
    assert sorted(shown(held_out, 10)) == [*range(13, 20), *range(106, 109)]
    seen = {training.components[c][k].mean() for c in (0, 1) for k in range(len(training.components[c]))}
    assert seen == {*range(13), *range(100, 106)}
    assert sorted(held_out.name(i) for i in range(10))[:2] == ["from 0[13]", "from 0[14]"]


def test_a_component_must_keep_something():
    with pytest.raises(InputError, match="3 of the 3 pictures of ObjectSource.from 100"):
        split(Mixture([numbered(0, 20), numbered(100, 3)], (0.7, 0.3)), 10)


def test_skipped_pictures_are_counted_over_all_components():
    mixture = Mixture([ObjectSource([None, PICTURE], "a"), ObjectSource([PICTURE, None], "b")], (1, 1))
    shown(mixture, 4)
    assert set(mixture.skipped) == {"a[0]", "b[1]"}


PICTURE = np.zeros((4, 4, 3), np.uint8)


def test_the_grammar_of_mixtures(tmp_path):
    for name in ("a+b", "c"):
        (tmp_path / name).mkdir()
        Image.new("L", (4, 4), 9).save(tmp_path / name / "0.png")
    mixture = open_source(f"mix:0.7*folder:{tmp_path}/a+b+0.3*folder:{tmp_path}/c")
    assert mixture.counts == (7, 3) and [len(part) for part in mixture.components] == [1, 1]
    assert mixture.components[0].name(0) == f"{tmp_path}/a+b/0.png"
    assert repr(mixture) == repr(open_source(f"mix:.7*folder:{tmp_path}/a+b+.3*folder:{tmp_path}/c"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mix:synthetic", "is not WEIGHT.SOURCE"),
        ("mix:1.2.3*synthetic", "is not WEIGHT.SOURCE"),
        ("mix:0*synthetic+1*synthetic", "above 0"),
        ("mix:1*mix:1*synthetic", "part of a mixture"),
        ("mix:1*nothing", "unknown data source 'nothing'"),
        ("mix:0.33333333*synthetic+0.5*synthetic", "fewer digits"),
    ],
)
def test_what_is_no_mixture(spec, message):
    with pytest.raises(InputError, match=message):
        open_source(spec)

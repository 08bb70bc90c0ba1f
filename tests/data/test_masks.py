"""Whole masks against an independent generator, and their promises as functions of a key."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from asym_jax.data.masks import draw_mask, draw_masks, find_recipe

THICK = find_recipe("thick_256")
SMALL = THICK.scaled(32)


jitted_masks = jax.jit(draw_masks, static_argnames=("count", "height", "width", "recipe", "full_probability"))


def partial_masks(key, *, count, size, recipe):
    return jitted_masks(key, count=count, height=size, width=size, recipe=recipe, full_probability=0.0)[..., 0]


def independent_generator():
    pytest.importorskip("cv2")
    from tests.data import lama

    return lama


def summary(masks):
    """Per mask: area, horizontal and vertical centroid as a share, edges per row and per column, and a clear border."""
    masks = np.asarray(masks)
    area = masks.mean((1, 2))
    grid = (np.arange(256) + 0.5) / 256
    columns, rows = masks.mean(1), masks.mean(2)
    with np.errstate(invalid="ignore"):
        return {
            "area": area,
            "x": columns @ grid / columns.sum(1),
            "y": rows @ grid / rows.sum(1),
            "edges in rows": np.abs(np.diff(masks, axis=2)).sum((1, 2)) / 256,
            "edges in columns": np.abs(np.diff(masks, axis=1)).sum((1, 2)) / 256,
            "clear of the border": (area == masks[:, 10:-10, 10:-10].sum((1, 2)) / 256**2).astype(float),
            "map": masks.reshape(-1, 16, 16, 16, 16).mean((2, 4)),
        }


@pytest.fixture(scope="module")
def samples():
    """Statistics of 3000 masks of ours and 3000 of the independent generator, at 256 pixels."""
    lama = independent_generator()
    ours = [summary(partial_masks(jax.random.key(i), count=50, size=256, recipe=THICK)) for i in range(60)]
    rng = np.random.default_rng(0)
    theirs = [summary(np.stack([lama.thick_mask(rng) for _ in range(50)])) for _ in range(60)]
    return tuple({name: np.concatenate([part[name] for part in parts]) for name in parts[0]} for parts in (ours, theirs))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["area", "x", "y", "edges in rows", "edges in columns"])
def test_distributions_agree_with_lama(samples, name):
    ours, theirs = samples
    assert stats.ks_2samp(ours[name], theirs[name]).pvalue > 1e-3


@pytest.mark.slow
def test_published_numbers_of_thick_masks(samples):
    ours, theirs = samples
    error = ours["area"].std() / len(ours["area"]) ** 0.5
    assert abs(ours["area"].mean() - 0.399) < 4 * error
    assert abs((ours["area"] > 0.5).mean() - 0.347) < 0.04
    assert ours["x"].mean() < 0.485  # LaMa's strokes 0, 2, 4, ... go left: a fingerprint
    clear = [sample["clear of the border"].mean() for sample in samples]
    assert abs(clear[0] - clear[1]) < 0.04  # boxes leave 10 pixels, strokes hardly ever: the share of boxes


@pytest.mark.slow
def test_every_part_of_the_picture_is_covered_as_often(samples):
    ours, theirs = (sample["map"] for sample in samples)
    error = np.sqrt(ours.var(0) / len(ours) + theirs.var(0) / len(theirs))
    scores = (ours.mean(0) - theirs.mean(0)) / error
    assert np.abs(scores).max() < 4.5
    assert np.sqrt((scores**2).mean()) < 2


@pytest.mark.parametrize("name", ["area", "x", "y"])
def test_oblong_pictures_are_no_turned_ones(oblong_samples, name):
    ours, theirs, turned = (sample[name] for sample in oblong_samples)
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-3
    assert name == "area" or stats.ks_2samp(ours, turned).pvalue < 1e-6  # had height and width changed places


@pytest.fixture(scope="module")
def oblong_samples():
    """Area and centroid, in pixels, of 400 masks 192 pixels high and 320 wide; and of theirs turned."""
    lama = independent_generator()
    draw = functools.partial(draw_mask, height=192, width=320, recipe=THICK)
    ours = np.asarray(jax.jit(lambda keys: jax.lax.map(draw, keys, batch_size=8))(jax.random.split(jax.random.key(2), 400)))[..., 0]
    rng = np.random.default_rng(1)
    theirs = np.stack([lama.thick_mask(rng, 192, 320) for _ in range(400)])
    versions = (ours, theirs, theirs.transpose(0, 2, 1))
    return [
        {
            "area": m.mean((1, 2)),
            "x": m.sum(1) @ np.arange(m.shape[2]) / m.sum((1, 2)),
            "y": m.sum(2) @ np.arange(m.shape[1]) / m.sum((1, 2)),
        }
        for m in versions
    ]


def test_scaled_recipes_cover_as_much():
    masks = partial_masks(jax.random.key(0), count=1000, size=64, recipe=THICK.scaled(64))
    assert abs(float(masks.mean()) - 0.399) < 0.04


def test_values_are_zero_and_one_and_vary():
    masks = jitted_masks(jax.random.key(0), count=8, height=32, width=32, recipe=SMALL, full_probability=0.0)
    assert masks.shape == (8, 32, 32, 1) and masks.dtype == jnp.float32
    assert set(np.unique(masks)) == {0.0, 1.0}
    assert len({mask.tobytes() for mask in np.asarray(masks)}) == 8


def test_mask_depends_on_key_and_index_alone():
    settings = dict(height=32, width=48, recipe=SMALL, full_probability=0.5)
    draw = functools.partial(draw_masks, jax.random.key(3), count=8, **settings)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.jit(draw, out_shardings=jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data")))()
    np.testing.assert_array_equal(np.asarray(spread)[:4], jitted_masks(jax.random.key(3), count=4, **settings))


@pytest.mark.slow
def test_single_batched_compiled_and_eager_draws_agree():
    keys = jax.random.split(jax.random.key(5), 6)
    draw = functools.partial(draw_mask, height=24, width=40, recipe=SMALL)
    single = np.stack([jax.jit(draw)(key) for key in keys])
    np.testing.assert_array_equal(jax.jit(jax.vmap(draw))(keys), single)
    np.testing.assert_array_equal(draw(keys[0]), single[0])


def test_share_of_full_masks():
    settings = dict(height=16, width=16, recipe=find_recipe("medium_256").scaled(16))
    full = jitted_masks(jax.random.key(0), count=2000, full_probability=0.5, **settings).min((1, 2, 3))
    assert stats.binomtest(int(full.sum()), 2000, 0.5).pvalue > 1e-3

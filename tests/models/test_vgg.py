import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.models.vgg import VGG16, halve_by_maximum


def test_tree_and_sizes():
    taps, variables = jax.eval_shape(VGG16().init_with_output, jax.random.key(0), jnp.zeros((1, 48, 35, 3)))
    params = variables["params"]
    assert sorted(params) == sorted(f"conv{i}" for i in range(13))
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == 14_714_688
    assert [tap.shape[1:] for tap in taps] == [(48, 35, 64), (24, 17, 128), (12, 8, 256), (6, 4, 512), (3, 2, 512)]


def test_taps_agree_with_torch_at_odd_sizes():
    from tests.models.torch_vgg import channels_first, torch_vgg, tree_of

    features = torch_vgg()
    images = np.random.default_rng(0).normal(size=(2, 37, 18, 3)).astype(np.float32)
    taps = jax.jit(VGG16().apply)({"params": tree_of(features)}, images)
    expected = channels_first(images)
    ends = iter([3, 8, 15, 22, 29])  # relu1_2 ... relu5_3 of torchvision's list
    end = next(ends)
    for i, layer in enumerate(features[:-1]):
        expected = layer(expected)
        if i == end:
            tap, taps = np.asarray(taps[0]), taps[1:]
            want = expected.numpy().transpose(0, 2, 3, 1)
            assert tap.shape == want.shape
            assert np.linalg.norm(tap - want) < 1e-5 * np.linalg.norm(want)
            end = next(ends, None)
    assert not taps


def test_products_keep_all_bits():
    images = jnp.zeros((1, 16, 16, 3))
    params = jax.eval_shape(VGG16().init, jax.random.key(0), images)
    program = jax.jit(VGG16().apply).lower(params, images).as_text()
    assert program.count("stablehlo.convolution") == program.count("precision_config = [#stablehlo<precision HIGHEST>") == 13


def test_halving_takes_the_largest_of_each_cell():
    features = jnp.array([[1.0, 2, 9], [4, 3, 9], [9, 9, 9]]).reshape(1, 3, 3, 1)
    np.testing.assert_array_equal(halve_by_maximum(features), jnp.full((1, 1, 1, 1), 4.0))


def test_small_pictures_are_refused():
    with pytest.raises(ValueError, match="at least 16 pixels"):
        jax.eval_shape(VGG16().init, jax.random.key(0), jnp.zeros((1, 15, 64, 3)))

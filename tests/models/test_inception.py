"""The FID network against torch-fidelity's, on the same random weights; and how far wrong networks are."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.metrics.inception_inputs import inception_inputs
from asym_jax.models.inception import SIDE, Inception
from asym_jax.models.inception_blocks import average_around

SMALL = 139
"""Pixels a side: 3 positions remain at the end, so that every pooling has neighbours."""


def distance(got, wanted) -> float:
    return float(np.linalg.norm(np.asarray(got) - np.asarray(wanted)) / np.linalg.norm(np.asarray(wanted)))


@pytest.fixture(scope="module")
def tools():
    from tests.models import torch_inception  # late: it needs torch

    torch_inception.fidelity("feature_extractor_inceptionv3")
    return torch_inception


@pytest.fixture(scope="module")
def state(tools):
    return tools.random_state()


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (1, SMALL, SMALL, 3), dtype=np.uint8)


def ours(tree, pixels, side):
    inputs = inception_inputs(jnp.asarray(pixels), "tf", side=side)
    return jax.jit(Inception().apply)({"params": tree}, inputs)


def theirs(tools, network, pixels):
    torch = tools.torch
    with torch.no_grad():
        return [tap.numpy() for tap in network(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()))]


def test_tree_sizes_and_names():
    taps, variables = jax.eval_shape(Inception().init_with_output, jax.random.key(0), jnp.zeros((2, SIDE, SIDE, 3)))
    counts = {"mean": 0, "var": 0, "other": 0}
    for path, leaf in jax.tree.leaves_with_path(variables["params"]):
        name = path[-1].key
        counts[name if name in counts else "other"] += math.prod(leaf.shape)
    # As published: 23,850,960 parameters, of which 1008 are the bias that the score leaves out.
    assert counts["other"] == 23_850_960 - 1008
    assert len(jax.tree.leaves(variables["params"])) == 94 * 5 + 1
    assert [tap.shape for tap in taps] == [(2, 64), (2, 192), (2, 768), (2, 2048), (2, 1008)]


@pytest.mark.parametrize("side", [SMALL, pytest.param(SIDE, marks=pytest.mark.slow)])
def test_taps_agree_with_torch_fidelity_and_wrong_networks_do_not(tools, state, pixels, side, monkeypatch):
    network = tools.fidelity_network(state, side=side)
    got = ours(tools.tree_of(state), pixels, side)
    distances = {
        name: distance(tap, want) for name, tap, want in zip(got._fields, got, theirs(tools, network, pixels), strict=True)
    }
    print(side, distances)
    assert max(distances.values()) < 1e-5

    wrong = wrong_networks(tools, state, side, network, pixels, monkeypatch)
    apart = {name: distance(got.pool3, pool3) for name, pool3 in wrong.items()}
    print(side, apart)
    assert min(apart.values()) > 1e-3


def wrong_networks(tools, state, side, network, pixels, monkeypatch) -> dict[str, np.ndarray]:
    """pool3 of networks that count padding, pool by the mean at the end, or have another epsilon."""
    torch = tools.torch
    blocks = tools.fidelity("feature_extractor_inceptionv3")
    average = torch.nn.functional.avg_pool2d

    def counting(x, *args, **options):
        return average(x, *args, **(options | {"count_include_pad": True}))

    wrong = {}
    with monkeypatch.context() as patch:
        patch.setattr(blocks.F, "avg_pool2d", counting)
        wrong["padding counted"] = theirs(tools, network, pixels)[3]
    with monkeypatch.context() as patch:
        patch.setattr(blocks.InceptionE_2, "forward", blocks.InceptionE_1.forward)
        wrong["mean instead of maximum"] = theirs(tools, network, pixels)[3]
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-5
    wrong["epsilon"] = theirs(tools, network, pixels)[3]
    return wrong


def test_means_at_the_border_are_of_what_is_there():
    features = jnp.arange(9.0).reshape(1, 3, 3, 1)
    # 0 1 2 / 3 4 5 / 6 7 8: the corner sees 0, 1, 3, 4; the edge 0 to 5; the middle all.
    np.testing.assert_allclose(average_around(features)[0, :2, :2, 0], [[2, 2.5], [3.5, 4]])


def test_products_keep_all_bits():
    params = jax.eval_shape(Inception().init, jax.random.key(0), jnp.zeros((1, SMALL, SMALL, 3)))
    program = jax.jit(Inception().apply).lower(params, jnp.zeros((1, SMALL, SMALL, 3))).as_text()
    products = program.count("stablehlo.convolution") + program.count("stablehlo.dot_general")
    exact = program.count("precision HIGHEST>, #stablehlo<precision HIGHEST>") + program.count("[HIGHEST, HIGHEST]")
    assert products == exact == 95


def test_small_pictures_are_refused():
    with pytest.raises(ValueError, match="at least 75 pixels"):
        jax.eval_shape(Inception().init, jax.random.key(0), jnp.zeros((1, 74, 80, 3)))

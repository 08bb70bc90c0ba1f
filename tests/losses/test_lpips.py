"""LPIPS against the official package, on the same random network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from asym_jax.losses.lpips import lpips
from asym_jax.models.lpips import lpips_distance, unit_length

torch = pytest.importorskip("torch")

from tests.models.torch_vgg import channels_first, torch_vgg, tree_of  # noqa: E402
from tests.models.without_torchvision import official_lpips  # noqa: E402

WIDTHS = (64, 128, 256, 512, 512)


@pytest.fixture(scope="module")
def trunk():
    return torch_vgg()


@pytest.fixture(scope="module")
def heads():
    random = np.random.default_rng(1)
    return tuple(jnp.asarray(random.uniform(0, 0.1, width), jnp.float32) for width in WIDTHS)


@pytest.fixture(scope="module")
def pair():
    random = np.random.default_rng(2)
    a = random.uniform(-1, 1, (2, 40, 32, 3))
    return a.astype(np.float32), np.clip(a + 0.3 * random.normal(size=a.shape), -1, 1).astype(np.float32)


@pytest.fixture(scope="module")
def official(trunk, heads):
    model = official_lpips("vgg", trunk)
    for layer, head in zip(model.lins, heads, strict=True):
        layer.model[-1].weight.data = torch.from_numpy(np.array(head)).reshape(1, -1, 1, 1)
    return model


def total(vgg, heads, a, b):
    distances = lpips(vgg, heads, a, b)
    return distances.sum(), distances


value_and_gradient = jax.jit(jax.value_and_grad(total, argnums=3, has_aux=True))


def test_value_and_gradient_agree_with_the_official_package(official, trunk, heads, pair):
    a, b = pair
    torch_b = channels_first(b).requires_grad_()
    expected = official(channels_first(a), torch_b).reshape(-1)
    expected.sum().backward()
    expected_gradient = torch_b.grad.numpy().transpose(0, 2, 3, 1)

    (_, distances), gradient = value_and_gradient(tree_of(trunk), heads, jnp.asarray(a), jnp.asarray(b))
    np.testing.assert_allclose(distances, expected.detach().numpy(), rtol=1e-5)
    assert np.linalg.norm(gradient - expected_gradient) < 1e-4 * np.linalg.norm(expected_gradient)


def test_equal_pictures_have_distance_and_gradient_zero(trunk, heads, pair):
    a, b = (jnp.asarray(image) for image in pair)
    (_, distances), gradient = value_and_gradient(tree_of(trunk), heads, a, a)
    _, usual = value_and_gradient(tree_of(trunk), heads, a, b)
    # Not exactly: the compiler may round the pass with a gradient and the one without differently.
    np.testing.assert_allclose(distances, 0, atol=1e-12)
    assert np.linalg.norm(gradient) < 1e-6 * np.linalg.norm(usual)


def test_a_layer_without_any_activation_stays_finite(trunk, heads, pair):
    params = tree_of(trunk)
    params["conv12"] = {"kernel": params["conv12"]["kernel"], "bias": np.full(512, -1e6, np.float32)}
    (_, distances), gradient = value_and_gradient(params, heads, *(jnp.asarray(image) for image in pair))
    (_, without), _ = value_and_gradient(tree_of(trunk), (*heads[:4], jnp.zeros(512)), *(jnp.asarray(image) for image in pair))
    np.testing.assert_allclose(distances, without, rtol=1e-6)
    assert np.all(np.isfinite(gradient)) and np.any(gradient)


def test_unit_length_and_its_gradient_where_there_is_none():
    features = jnp.array([[3.0, 4.0], [-1.0, 0.0]]).reshape(1, 1, 2, 2)
    np.testing.assert_allclose(unit_length(nn.relu(features)).ravel(), [0.6, 0.8, 0, 0], rtol=1e-6)
    with jax.debug_nans(True):  # without jit it sees every NaN on the way, also those that ReLU's gradient would hide
        gradient = jax.grad(lambda features: unit_length(nn.relu(features)).sum())(features)
    # d(x + y)/|(x, y)| = (y - x) (y, -x) / |(x, y)|^3
    np.testing.assert_allclose(gradient.ravel(), [4 / 125, -3 / 125, 0, 0], rtol=1e-5)


def test_distance_by_pencil():
    # One layer, one picture of 1x2 positions: (1, 0) against (0, 1) and (0, 0) against (1, 0), weights 2 and 3.
    a = jnp.array([[1.0, 0], [0, 0]]).reshape(1, 1, 2, 2)
    b = jnp.array([[0.0, 1], [1, 0]]).reshape(1, 1, 2, 2)
    np.testing.assert_allclose(lpips_distance((jnp.array([2.0, 3.0]),), [a], [b]), [(2 + 3 + 2) / 2])

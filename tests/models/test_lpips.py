"""LPIPS over AlexNet against the official package (over VGG16: tests/losses/test_lpips.py)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.metrics.lpips import picture_lpips
from asym_jax.models.alexnet import AlexNet
from asym_jax.models.lpips import activations, lpips_distance

torch = pytest.importorskip("torch")

from tests.models.torch_alexnet import torch_alexnet  # noqa: E402
from tests.models.torch_vgg import channels_first, torch_vgg, tree_of  # noqa: E402
from tests.models.without_torchvision import official_lpips  # noqa: E402

WIDTHS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}


def trunk_of(name):
    return torch_alexnet() if name == "alex" else torch_vgg()


@pytest.fixture(scope="module")
def heads():
    random = np.random.default_rng(1)
    return {name: tuple(jnp.asarray(random.uniform(0, 0.1, c), jnp.float32) for c in WIDTHS[name]) for name in WIDTHS}


@pytest.fixture(scope="module")
def pair():
    random = np.random.default_rng(2)
    a = random.integers(0, 256, (2, 67, 48, 3))
    b = np.clip(a + random.normal(scale=30, size=a.shape), 0, 255)
    return a.astype(np.uint8), b.astype(np.uint8)


def official(name, trunk, heads):
    model = official_lpips(name, trunk)
    for layer, head in zip(model.lins, heads, strict=True):
        layer.model[-1].weight.data = torch.from_numpy(np.array(head)).reshape(1, -1, 1, 1)
    return model


def scaled(pixels):
    return pixels.astype(np.float32) / 127.5 - 1


def test_value_and_gradient_over_alexnet(heads, pair):
    trunk = trunk_of("alex")
    a, b = (scaled(pixels) for pixels in pair)
    torch_b = channels_first(b).requires_grad_()
    expected = official("alex", trunk, heads["alex"])(channels_first(a), torch_b).reshape(-1)
    expected.sum().backward()
    expected_gradient = torch_b.grad.numpy().transpose(0, 2, 3, 1)

    def total(b):
        distances = lpips_distance(heads["alex"], activations("alex", params, a), activations("alex", params, b))
        return distances.sum(), distances

    params, a = tree_of(trunk), jnp.asarray(a)
    (_, distances), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(jnp.asarray(b))
    np.testing.assert_allclose(distances, expected.detach().numpy(), rtol=1e-5)
    assert np.linalg.norm(gradient - expected_gradient) < 1e-4 * np.linalg.norm(expected_gradient)


@pytest.mark.parametrize("name", ["alex", "vgg"])
def test_pictures_as_files_store_them(name, heads, pair):
    trunk = trunk_of(name)
    with torch.no_grad():
        expected = official(name, trunk, heads[name])(*(channels_first(scaled(pixels)) for pixels in pair)).reshape(-1)
    measure = jax.jit(picture_lpips, static_argnums=0)
    a, b = (jnp.asarray(pixels) for pixels in pair)
    np.testing.assert_allclose(measure(name, tree_of(trunk), heads[name], a, b), expected, rtol=1e-5)
    np.testing.assert_array_equal(measure(name, tree_of(trunk), heads[name], a, a), 0)


def test_dead_activations_and_equal_pictures_have_finite_gradients(heads, pair):
    params = tree_of(trunk_of("alex"))
    params["conv4"] = {"kernel": params["conv4"]["kernel"], "bias": np.full(256, -1e6, np.float32)}
    a, b = (jnp.asarray(scaled(pixels)) for pixels in pair)

    def total(b, heads):
        return lpips_distance(heads, activations("alex", params, a), activations("alex", params, b)).sum()

    value = jax.jit(jax.value_and_grad(total))
    without = (*heads["alex"][:4], jnp.zeros(256))
    np.testing.assert_allclose(value(b, heads["alex"])[0], value(b, without)[0], rtol=1e-6)
    for other in (a, b):
        assert np.isfinite(value(other, heads["alex"])[1]).all()


def test_alexnet_keeps_all_bits_and_refuses_small_pictures():
    images = jnp.zeros((1, 31, 40, 3))
    params = jax.eval_shape(AlexNet().init, jax.random.key(0), images)
    program = jax.jit(AlexNet().apply).lower(params, images).as_text()
    assert program.count("stablehlo.convolution") == program.count("precision_config = [#stablehlo<precision HIGHEST>") == 5
    with pytest.raises(ValueError, match="at least 31 pixels"):
        jax.eval_shape(AlexNet().init, jax.random.key(0), images[:, :30])

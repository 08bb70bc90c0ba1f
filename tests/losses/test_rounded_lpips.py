"""How far LPIPS as a loss moves when its network computes in bfloat16."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.data.synthetic import draw_scene
from asym_jax.losses.lpips import lpips
from asym_jax.models.vgg import VGG16


@pytest.fixture(scope="module")
def network():
    """Weights by He's rule, so that all activations have about the same size, and heads."""
    random = np.random.default_rng(0)

    def draw(leaf):
        deviation = 0.1 if leaf.ndim == 1 else (2 / np.prod(leaf.shape[:-1])) ** 0.5
        return jnp.asarray(deviation * random.normal(size=leaf.shape), jnp.float32)

    shapes = jax.eval_shape(VGG16().init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))["params"]
    return jax.tree.map(draw, shapes), tuple(jnp.asarray(random.uniform(0, 0.1, w), jnp.float32) for w in (64, 128, 256, 512, 512))


def blurred(image):
    for axis in (1, 2):
        image = (np.roll(image, 1, axis) + image + np.roll(image, -1, axis)) / 3
    return image


def total(image, scene, vgg, heads, dtype):
    return lpips(vgg, heads, scene, image, dtype=dtype).sum()


@pytest.mark.parametrize("side", [64, *(pytest.param(side, marks=pytest.mark.slow) for side in (128, 256))])
def test_bfloat16_against_float32(network, side):
    scene = draw_scene(np.random.default_rng(3), side)[None].astype(np.float32) / 127.5 - 1
    found = {}
    for dtype in (jnp.float32, jnp.bfloat16):
        distance = functools.partial(total, dtype=dtype)
        found[dtype] = jax.device_get(jax.jit(jax.value_and_grad(distance))(jnp.asarray(blurred(scene)), scene, *network))
    (exact, gradient), (rounded, rounded_gradient) = found.values()
    assert rounded.dtype == rounded_gradient.dtype == np.float32
    apart = np.linalg.norm(rounded_gradient - gradient) / np.linalg.norm(gradient)
    cosine = np.vdot(rounded_gradient, gradient) / np.linalg.norm(rounded_gradient) / np.linalg.norm(gradient)
    print(f"{side} pixels: value {rounded / exact - 1:.1e}, gradient {apart:.2f}, cosine {cosine:.3f}")
    assert 0 < abs(rounded / exact - 1) < 3e-3
    # Much of it are ReLUs and maxima that fall the other way; with TF32's ten bits it is still 8%.
    assert apart < 0.3 and cosine > 0.96

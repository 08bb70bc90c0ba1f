"""The blocks against the same arithmetic in PyTorch, and their initial values against PyTorch's ranges."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.models import blocks
from asym_jax.models.blocks import AttentionBlock, Downsample, ResnetBlock, Upsample
from asym_jax.models.decoder import Decoder

torch = pytest.importorskip("torch")
functional = torch.nn.functional


def run(module, in_channels=8, sizes=(6, 10)):
    """Parameters moved away from their trivial initial values, an input, and what the module makes of it."""
    random = np.random.default_rng(0)
    features = random.normal(size=(2, *sizes, in_channels)).astype(np.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.asarray(features))["params"]
    params = jax.tree.map(lambda leaf: jnp.asarray(0.3 * random.normal(size=leaf.shape), jnp.float32), shapes)
    return to_torch(params), torch.from_numpy(features.transpose(0, 3, 1, 2)), jax.jit(module.apply)({"params": params}, features)


def to_torch(tree):
    """Kernels from (height, width, in, out) to (out, in, height, width), and dense ones from (in, out) to (out, in)."""
    if isinstance(tree, dict):
        return {name: to_torch(value) for name, value in tree.items()}
    array = np.array(tree)
    return torch.from_numpy(array.transpose(3, 2, 0, 1).copy() if array.ndim == 4 else array.T.copy())


def conv(features, layer, **options):
    return functional.conv2d(features, layer["kernel"], layer["bias"], **options)


def norm(features, layer):
    return functional.group_norm(features, 4, layer["scale"], layer["bias"], eps=1e-6)


def check(got, expected):
    np.testing.assert_allclose(got, expected.numpy().transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("in_channels", [8, 12])
def test_residual_block(in_channels):
    params, x, got = run(ResnetBlock(in_channels, 8, norm_groups=4), in_channels)
    update = conv(functional.silu(norm(x, params["norm1"])), params["conv1"], padding=1)
    update = conv(functional.silu(norm(update, params["norm2"])), params["conv2"], padding=1)
    assert ("conv_shortcut" in params) == (in_channels != 8)
    check(got, update + (conv(x, params["conv_shortcut"]) if in_channels != 8 else x))


@pytest.mark.parametrize("scores", [2**26, 700])  # all 60 positions together; 11 at a time, and 5 at last
def test_attention(scores, monkeypatch):
    monkeypatch.setattr(blocks, "SCORES", scores)
    params, x, got = run(AttentionBlock(8, norm_groups=4))
    tokens = norm(x, params["group_norm"]).flatten(2).transpose(1, 2)

    def linear(tokens, name):
        return functional.linear(tokens, params[name]["kernel"], params[name]["bias"])

    mixed = functional.scaled_dot_product_attention(*(linear(tokens, name) for name in ("query", "key", "value")))
    check(got, x + linear(mixed, "proj_attn").transpose(1, 2).reshape(x.shape))


def test_halving_pads_at_the_bottom_and_the_right():
    params, x, got = run(Downsample(8))
    check(got, conv(functional.pad(x, (0, 1, 0, 1)), params["conv"], stride=2))


def test_doubling_repeats_pixels():
    params, x, got = run(Upsample(8))
    check(got, conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"), params["conv"], padding=1))


def test_initial_values_are_those_of_torch():
    """Weights and biases of Conv2d and Linear are U(-1/sqrt(fan_in), 1/sqrt(fan_in)); norms are 1 and 0."""
    decoder = Decoder((16, 32), 0, 4, norm_groups=4, conditional=True)
    latents, image = jnp.zeros((1, 4, 4, 4)), jnp.zeros((1, 8, 8, 3))
    params = jax.jit(decoder.init)(jax.random.key(0, impl="rbg"), latents, image=image, mask=image[..., :1])["params"]
    kernels = []

    def check_layer(layer):
        if "scale" in layer:
            assert np.all(layer["scale"] == 1) and np.all(layer["bias"] == 0)
        elif "kernel" in layer:
            bound = math.prod(layer["kernel"].shape[:-1]) ** -0.5
            for leaf in layer.values():
                assert np.max(np.abs(leaf)) <= bound
                if leaf.size >= 1000:
                    np.testing.assert_allclose(np.std(leaf), bound / 3**0.5, rtol=0.05)
            assert len(np.unique(layer["bias"])) == layer["bias"].size and np.std(layer["bias"]) > 0.2 * bound
            kernels.append(layer["kernel"])
        else:
            for part in layer.values():
                check_layer(part)

    check_layer(params)
    assert len(kernels) == 19  # 1 in, 8 in the middle, 3 and 3 in the levels, 1 out, 3 for the condition
    reference = torch.nn.Conv2d(32, 64, 3)  # the rule itself, as PyTorch applies it
    for leaf in reference.parameters():
        np.testing.assert_allclose(leaf.abs().max().item(), 288**-0.5, rtol=0.1)

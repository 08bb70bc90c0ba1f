"""Group normalisation and SiLU against PyTorch in float64, what the gradient keeps, and what it sends between devices."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from asym_jax.models.normalisation.layer import GroupNorm, Settings, group_norm

GROUPS = 4


def given(shape, mean=0.5, deviation=1.0, seed=0):
    """Features, scale, bias and what is pulled back."""
    random = np.random.default_rng(seed)
    draws = (mean + deviation * random.normal(size=shape), 1 + random.normal(size=shape[-1:]), random.normal(size=shape[-1:]))
    return tuple(jnp.asarray(draw, jnp.float32) for draw in (*draws, random.normal(size=shape)))


def ours(x, scale, bias, pull, silu):
    settings = Settings(GROUPS, silu)
    value, pull_back = jax.vjp(lambda *given: group_norm(*given, settings), x, scale, bias)
    return value, *pull_back(pull)


def flax_norm(x, scale, bias):
    return nn.silu(nn.GroupNorm(GROUPS, epsilon=1e-6, use_fast_variance=False).apply({"params": {"scale": scale, "bias": bias}}, x))


def of_flax(x, scale, bias, pull):
    value, pull_back = jax.vjp(flax_norm, x, scale, bias)
    return value, *pull_back(pull)


def of_torch(x, scale, bias, pull, silu):
    torch = pytest.importorskip("torch")
    x, scale, bias, pull = (torch.tensor(np.asarray(array), dtype=torch.float64) for array in (x, scale, bias, pull))
    leaves = [x.permute(0, 3, 1, 2).requires_grad_(), scale.requires_grad_(), bias.requires_grad_()]
    value = torch.nn.functional.group_norm(leaves[0], GROUPS, *leaves[1:], eps=1e-6)
    value = torch.nn.functional.silu(value) if silu else value
    gradients = torch.autograd.grad(value, leaves, pull.permute(0, 3, 1, 2))
    return [one.detach().permute(0, 2, 3, 1).numpy() if one.ndim == 4 else one.numpy() for one in (value, *gradients)]


def error(found, expected):
    return np.max(np.abs(found - expected)) / np.max(np.abs(expected))


@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("shape", [(2, 8, 8, 16), (1, 33, 17, 24), (3, 5, 7, 96), (1, 2, 3, 8)])
def test_value_and_gradients_agree_with_torch(shape, silu):
    arrays = given(shape)
    found = jax.jit(ours, static_argnums=4)(*arrays, silu)
    for name, got, expected in zip(("value", "features", "scale", "bias"), found, of_torch(*arrays, silu), strict=True):
        assert error(got, expected) < 5e-6, name


def picture_of_one_level_in_every_sixteenth_row(shape):
    x, *others = given(shape, mean=0.0)
    return x.at[:, ::16].add(1e3), *others


@pytest.mark.parametrize(
    "arrays",
    [
        given((2, 40, 24, 16), mean=1e3, deviation=0.1),
        given((2, 40, 24, 16), mean=-3e3, deviation=1.0),
        picture_of_one_level_in_every_sixteenth_row((1, 40, 24, 16)),
        given((1, 32, 32, 8), mean=0.0, deviation=1e-4),
    ],
    ids=["1000", "-3000", "a guess far off", "almost constant"],
)
def test_means_and_deviations_of_all_sizes(arrays):
    """As exact as Flax' two passes, which know the mean before they look at deviations."""
    expected = of_torch(*arrays, True)
    found = jax.jit(ours, static_argnums=4)(*arrays, True)
    usual = jax.jit(of_flax)(*arrays)
    for name, got, flax, exact in zip(("value", "features", "scale", "bias"), found, usual, expected, strict=True):
        assert error(got, exact) < max(1.5 * error(flax, exact), 3e-6), name


def test_the_gradient_keeps_the_features_in_their_own_type_and_little_else():
    x, scale, bias, _ = given((2, 16, 16, 32))
    settings = Settings(GROUPS, silu=True, dtype=jnp.bfloat16)
    value, pull_back = jax.jit(lambda x: jax.vjp(lambda x: group_norm(x, scale, bias, settings), x))(x.astype(jnp.bfloat16))
    kept = sorted(jax.tree.leaves(pull_back), key=lambda leaf: -leaf.size)
    assert (value.dtype, kept[0].dtype, kept[0].shape) == (jnp.bfloat16, jnp.bfloat16, x.shape)
    assert max(leaf.size for leaf in kept[1:]) <= 32
    assert jax.eval_shape(pull_back, value)[0].dtype == jnp.bfloat16


def test_the_compiler_keeps_no_more_either():
    """It sees that the backward pass computes again what the forward pass did, and must not keep it for that."""
    x, scale, bias, pull = given((1, 32, 32, 32))
    kernels = [jnp.zeros((3, 3, 32, 32))] * 4

    def memory(norm):
        def stack(x, scale, bias, kernels):
            for kernel in kernels:
                x = jax.lax.conv_general_dilated(
                    norm(x, scale, bias), kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
                )
            return x

        gradient = jax.jit(lambda pull, *given: jax.vjp(stack, *given)[1](pull))
        return gradient.lower(pull, x, scale, bias, kernels).compile().memory_analysis().temp_size_in_bytes

    ours, usual = memory(lambda *given: group_norm(*given, Settings(GROUPS, silu=True))), memory(flax_norm)
    print(f"{ours / x.nbytes:.1f} against {usual / x.nbytes:.1f} times the features")
    assert ours < 0.85 * usual


def test_bfloat16_is_rounded_once():
    """Statistics, affine map and SiLU are float32: the result is the exact one, rounded."""
    x, scale, bias, pull = given((2, 16, 16, 32), mean=2.0)
    x = x.astype(jnp.bfloat16)
    exact = of_torch(x.astype(jnp.float32), scale, bias, pull, True)[0]
    settings = Settings(GROUPS, silu=True, dtype=jnp.bfloat16)
    found = jax.jit(group_norm, static_argnums=3)(x, scale, bias, settings).astype(jnp.float32)
    assert np.all(np.abs(found - exact) <= 2**-8 * 1.01 * np.abs(exact) + 1e-6)


def test_parameters_are_those_of_flax():
    features = jnp.zeros((1, 2, 2, 8))
    shapes = [jax.eval_shape(module.init, jax.random.key(0), features) for module in (GroupNorm(4), nn.GroupNorm(4))]
    assert shapes[0] == shapes[1]


def test_a_batch_over_eight_devices_exchanges_gradients_of_parameters_only():
    arrays = given((16, 8, 8, 16))
    mesh = Mesh(np.array(jax.devices()), "x")
    spread, whole = NamedSharding(mesh, PartitionSpec("x")), NamedSharding(mesh, PartitionSpec())
    places = (spread, whole, whole, spread)
    program = jax.jit(lambda *arrays: ours(*arrays, True), in_shardings=places, out_shardings=(spread, spread, whole, whole))
    text = program.lower(*arrays).compile().as_text()
    exchanged = re.findall(r"= (.*) (?:all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(", text)
    assert exchanged and all(set(re.findall(r"f32\[(\d*)[,\d]*\]", shape)) <= {"16"} for shape in exchanged), exchanged
    for found, expected in zip(program(*arrays), jax.jit(ours, static_argnums=4)(*arrays, True), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)

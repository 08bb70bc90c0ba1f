"""Which form a convolution takes, and that all forms agree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.errors import InputError
from asym_jax.models.blocks import Upsample, convolution
from asym_jax.models.convolutions import at_most, convolve, convolve_doubled
from asym_jax.models.convolutions.subpixel import doubled_by_phases

ONE = ((1, 1), (1, 1))
NHWC = ("NHWC", "HWIO", "NHWC")


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.float32(np.random.default_rng(seed).normal(size=shape))


def directly(inputs: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    return jax.lax.conv_general_dilated(inputs, kernel, (stride, stride), ONE, dimension_numbers=NHWC)


def convolutions_in(function, *arguments) -> int:
    return str(jax.make_jaxpr(function)(*arguments)).count("conv_general_dilated[")


def chosen(inputs, kernel, stride=1, padding=ONE, **others):
    return convolve(inputs, kernel, (stride, stride), padding, dimension_numbers=NHWC, **others)


@pytest.mark.parametrize(("taps", "stride"), [(3, 1), (4, 2)])
@pytest.mark.parametrize("side", [16, 48])
def test_wide_float32_convolutions_on_a_cpu_are_filtered(taps, stride, side, monkeypatch):
    inputs, kernel = normal(1, side, side, 128), normal(taps, taps, 128, 128, seed=1)
    assert convolutions_in(lambda *both: chosen(*both, stride), inputs, kernel) == 0
    found, expected = chosen(inputs, kernel, stride), directly(inputs, kernel, stride)
    np.testing.assert_allclose(found, expected, atol=1e-5 * float(jnp.abs(expected).max()), rtol=0)
    monkeypatch.setenv("ASYM_JAX_FILTERING", "off")
    assert convolutions_in(lambda *both: chosen(*both, stride), inputs, kernel) == 1
    np.testing.assert_array_equal(chosen(inputs, kernel, stride), expected)


@pytest.mark.parametrize(
    ("inputs", "kernel", "others"),
    [
        (normal(1, 12, 12, 64), normal(3, 3, 64, 128), {}),
        (normal(1, 4, 4, 128), normal(3, 3, 128, 128), {}),
        (normal(1, 12, 12, 128).astype(jnp.bfloat16), normal(3, 3, 128, 128).astype(jnp.bfloat16), {}),
        (normal(1, 12, 12, 128), normal(3, 3, 128, 128), {"precision": jax.lax.Precision.HIGHEST}),
        (normal(1, 12, 12, 128), normal(3, 3, 128, 128), {"padding": ((0, 1), (0, 1))}),
        (normal(1, 12, 12, 128), normal(1, 1, 128, 128), {"padding": ((0, 0), (0, 0))}),
        (normal(1, 12, 12, 128), normal(3, 3, 128, 128), {"stride": 2}),
    ],
    ids=["few channels", "few places", "bfloat16", "a precision", "other padding", "1x1", "3x3 of stride 2"],
)
def test_the_rest_is_summed_directly(inputs, kernel, others):
    assert convolutions_in(lambda *both: chosen(*both, **others), inputs, kernel) == 1


def test_accelerators_sum_directly(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert convolutions_in(chosen, normal(1, 12, 12, 128), normal(3, 3, 128, 128)) == 1
    doubled = lambda *both: convolve_doubled(*both, (1, 1), ONE)  # noqa: E731
    assert convolutions_in(doubled, normal(1, 12, 12, 128), normal(3, 3, 128, 128)) == 4


def test_small_tiles_only(monkeypatch):
    """36 products of the kernel become 16."""
    inputs, kernel = normal(1, 48, 48, 128), normal(3, 3, 128, 128, seed=1)

    def products() -> int:
        return str(jax.make_jaxpr(lambda *both: chosen(*both))(inputs, kernel)).count("dot_general[")

    assert products() == 36
    with at_most("small"):
        assert products() == 16
    with at_most("off"):
        assert products() == 0
    assert products() == 36
    monkeypatch.setenv("ASYM_JAX_FILTERING", "small")
    assert products() == 16
    with at_most("large"):
        assert products() == 16


def test_a_misspelt_choice_is_named(monkeypatch):
    monkeypatch.setenv("ASYM_JAX_FILTERING", "fast")
    with pytest.raises(InputError, match="ASYM_JAX_FILTERING='fast': give one of off, small, large"):
        chosen(normal(1, 12, 12, 128), normal(3, 3, 128, 128))


@pytest.mark.parametrize("channels", [4, 128])
@pytest.mark.parametrize("size", [(6, 10), (33, 40)])
def test_doubling_repeats_pixels_and_convolves(channels, size):
    inputs, kernel = normal(1, *size, channels), normal(3, 3, channels, channels, seed=1)
    repeated = inputs.repeat(2, axis=1).repeat(2, axis=2)
    expected, pull = jax.vjp(lambda kernel: directly(repeated, kernel), kernel)
    found, pull_found = jax.vjp(lambda kernel: convolve_doubled(inputs, kernel, (1, 1), ONE), kernel)
    np.testing.assert_allclose(found, expected, atol=1e-5 * float(jnp.abs(expected).max()), rtol=0)
    (gradient,), (found_gradient,) = pull(expected), pull_found(expected)
    np.testing.assert_allclose(found_gradient, gradient, atol=1e-5 * float(jnp.abs(gradient).max()), rtol=0)


def test_phases_by_pencil():
    """One pixel of 1 in a row of three, taps 1, 2, 4 along the row: new pixels 0 0 1 1 0 0 give 0 4 6 3 1 0."""
    inputs = jnp.zeros((1, 1, 3, 1)).at[0, 0, 1, 0].set(1.0)
    kernel = jnp.zeros((3, 3, 1, 1)).at[1, :, 0, 0].set(jnp.float32([1, 2, 4]))
    found = doubled_by_phases(inputs, kernel)
    np.testing.assert_array_equal(found[0, :, :, 0], [[0, 4, 6, 3, 1, 0]] * 2)


def test_bfloat16_phases_round_like_the_direct_sum():
    """Error against float32, next to that of repeating pixels and convolving in bfloat16, by way of the layer."""
    inputs, kernel = normal(1, 16, 16, 64), normal(3, 3, 64, 32, seed=1) / 24
    half = lambda array: array.astype(jnp.bfloat16)  # noqa: E731
    repeated = inputs.repeat(2, axis=1).repeat(2, axis=2)
    expected = directly(repeated, kernel)
    error = lambda found: float(jnp.sqrt(jnp.mean(jnp.square(found.astype(jnp.float32) - expected))))  # noqa: E731
    params = {"params": {"conv": {"kernel": kernel, "bias": jnp.zeros(32)}}}
    found = jax.jit(Upsample(32, jnp.bfloat16).apply)(params, inputs)
    assert found.dtype == jnp.bfloat16
    assert error(found) < 1.05 * error(directly(half(repeated), half(kernel)))


def test_doubling_knows_one_kind_of_convolution():
    with pytest.raises(ValueError, match="only 3x3, stride 1, padding 1"):
        convolve_doubled(normal(1, 4, 4, 2), normal(3, 3, 2, 2), (2, 2), ONE)


def test_layers_use_both_forms():
    features = normal(1, 12, 12, 128)
    layer, up = convolution(128, 128, dtype=jnp.float32), Upsample(128)
    for module, side in ((layer, 12), (up, 24)):
        params = jax.eval_shape(module.init, jax.random.key(0), features)
        assert jax.eval_shape(module.apply, params, features).shape == (1, side, side, 128)
        assert "conv_general_dilated[" not in str(jax.make_jaxpr(module.apply)(params, features))

"""The kernels in Pallas' interpreter, against the same passes in plain JAX; and that they can be lowered for a GPU."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.models.normalisation import kernels, passes
from asym_jax.models.normalisation.layer import Settings, group_norm
from asym_jax.models.normalisation.passes import Affine

NAMES = ("sum_moments", "normalise", "sum_gradients", "pull_back")
SHAPES = [
    (2, 8, 8, 128),
    (1, 9, 7, 192),  # odd numbers of positions: most of a block is empty
    (1, 6, 5, 384),
    (1, 40, 31, 768),  # several steps of a program, the last one not full
    (1, 3, 3, 24),
]


def draw(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def check(found, expected, tolerance=3e-6):
    for got, wanted in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert got.shape == wanted.shape and got.dtype == wanted.dtype
        got, wanted = (one.astype(jnp.float32) for one in (got, wanted))
        assert np.max(np.abs(got - wanted)) <= tolerance * np.max(np.abs(wanted))


def value_and_gradients(settings, features, scale, bias, pull):
    value, pull_back = jax.vjp(lambda *given: group_norm(*given, settings), features, scale, bias)
    return value, *pull_back(pull)


@pytest.mark.parametrize(("shape", "silu"), [*((shape, True) for shape in SHAPES), (SHAPES[0], False)])
def test_each_pass(shape, silu):
    features, pull = draw(shape), draw(shape, 1)
    mean, factor, bias, slope, offset = (draw((shape[0], shape[-1]), seed) for seed in range(2, 7))
    affine = Affine(mean, factor, bias)
    arguments = {
        "sum_moments": ((features, mean), {}),
        "normalise": ((features, affine), {"silu": silu, "dtype": jnp.float32}),
        "sum_gradients": ((features, pull, affine), {"silu": silu}),
        "pull_back": ((features, pull, affine, slope, offset), {"silu": silu}),
    }

    def run(module, **interpreted):
        passes = {name: functools.partial(getattr(module, name), **arguments[name][1], **interpreted) for name in NAMES}
        return jax.jit(lambda given: {name: passes[name](*given[name]) for name in NAMES})(
            {name: arguments[name][0] for name in NAMES}
        )

    check(run(kernels, interpret=True), run(passes))


@pytest.mark.parametrize(
    ("shape", "dtype"), [((2, 6, 5, 128), jnp.float32), ((1, 9, 7, 512), jnp.bfloat16), ((1, 4, 4, 768), jnp.bfloat16)]
)
def test_the_whole_operation(monkeypatch, shape, dtype):
    """4, 16 and 24 channels per group."""
    for name in NAMES:
        monkeypatch.setattr(kernels, name, functools.partial(getattr(kernels, name), interpret=True))
    features, pull = draw(shape).astype(dtype), draw(shape, 1).astype(dtype)
    scale, bias = 1 + draw(shape[-1:], 2), draw(shape[-1:], 3)
    results = []
    for kernel in ("triton", "xla"):
        settings = Settings(32, silu=True, dtype=dtype, kernel=kernel)
        results.append(jax.jit(functools.partial(value_and_gradients, settings))(features, scale, bias, pull))
    check(*results, tolerance=3e-6 if dtype == jnp.float32 else 2**-8)


operation = functools.partial(value_and_gradients, Settings(32, silu=True, dtype=jnp.bfloat16, kernel="triton"))


def abstract(width):
    features, vector = (1, 33, 31, width), (width,)
    return [jax.ShapeDtypeStruct(*one) for one in ((features, jnp.bfloat16), (vector, jnp.float32))]


@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated")
@pytest.mark.parametrize("width", [128, 192, 768])
def test_they_are_lowered_for_a_gpu(width):
    features, vector = abstract(width)
    pretended = jax.sharding.AbstractDevice(device_kind="NVIDIA H100 80GB HBM3", num_cores=132, platform="gpu")
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((1,), ("x",), abstract_device=pretended)):
        program = jax.jit(operation).trace(features, vector, vector, features).lower(lowering_platforms=("cuda",))
    # moments, value, sums, gradient
    assert program.as_text().count("stablehlo.custom_call @__gpu$xla.gpu.triton") == 4


def test_without_a_gpu_the_plain_passes_take_their_place():
    features, vector = abstract(64)
    assert "triton" not in jax.jit(operation).lower(features, vector, vector, features).as_text()

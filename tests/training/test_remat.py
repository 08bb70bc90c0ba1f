"""What is computed again: less is kept, and nothing else changes."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.models.decoder import Decoder

SHAPES = {"latents": (2, 4, 4, 4), "image": (2, 8, 8, 3), "mask": (2, 8, 8, 1)}


def decoder(remat: str) -> Decoder:
    return Decoder((4, 8), 0, 4, 2, conditional=True, remat=remat)


@pytest.fixture(scope="module")
def given():
    keys = jax.random.split(jax.random.key(0), 4)
    inputs = {name: jax.random.normal(key, shape) for key, (name, shape) in zip(keys, SHAPES.items(), strict=False)}
    params = jax.jit(lambda key: decoder("none").init(key, **inputs)["params"])(keys[3])
    return params, inputs


def loss(remat: str, inputs):
    return lambda params: jnp.sum(jnp.sin(decoder(remat).apply({"params": params}, **inputs)))


@pytest.mark.parametrize("remat", ["norms", "blocks"])
def test_parameters_values_and_gradients_are_the_same(given, remat):
    params, inputs = given
    assert jax.eval_shape(lambda key: decoder(remat).init(key, **inputs)["params"], jax.random.key(0)) == jax.eval_shape(
        lambda: params
    )
    expected = jax.jit(jax.value_and_grad(loss("none", inputs)))(params)
    found = jax.jit(jax.value_and_grad(loss(remat, inputs)))(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, expected)


def test_what_is_computed_again(given):
    """Read off the gradient's program: convolutions and products, and roots, of which each normalisation takes one."""
    params, inputs = given
    count = {}
    for remat in ("none", "norms", "blocks"):
        program = str(jax.make_jaxpr(jax.grad(loss(remat, inputs)))(params))
        count[remat] = [len(re.findall(pattern, program)) for pattern in (r"= conv_general_dilated|= dot_general", r"= rsqrt")]
    products, roots = zip(*(count[remat] for remat in ("none", "norms", "blocks")), strict=True)
    # 2 residual blocks in the middle and 1 per level, each with 2 normalisations; the attention's, and the last one.
    assert roots == (10, 20, 20)
    assert products[0] == products[1]
    assert (
        products[2] == products[0] + 4 + 5
    )  # the first convolution of each block; all that the attention multiplies but its last product

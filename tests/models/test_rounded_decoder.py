"""How far the decoder moves when it computes in bfloat16."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.data.synthetic import draw_scene
from asym_jax.models.decoder import Decoder

SIDE = 32


@pytest.fixture(autouse=True)
def quick_compilation():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.slow
def test_bfloat16_against_float32():
    random = np.random.default_rng(0)
    image = jnp.asarray(draw_scene(random, SIDE)[None].astype(np.float32) / 127.5 - 1)
    mask = jnp.zeros((1, SIDE, SIDE, 1)).at[:, 8:24, 8:].set(1)
    latents = jnp.asarray(random.normal(size=(1, SIDE // 2, SIDE // 2, 4)), jnp.float32)

    def draw(path, leaf):
        """Weights that keep the size of features, and norms and biases that are not trivial."""
        kind = path[-1].key
        deviation = np.prod(leaf.shape[:-1]) ** -0.5 if kind == "kernel" else 0.1
        return jnp.asarray((kind == "scale") + deviation * random.normal(size=leaf.shape), jnp.float32)

    found, params = {}, None
    for dtype in (jnp.float32, jnp.bfloat16):
        decoder = Decoder((32, 64), 0, 4, 8, conditional=True, dtype=dtype)
        if params is None:
            shapes = jax.eval_shape(lambda: decoder.init(jax.random.key(0), latents, image=image, mask=mask)["params"])  # noqa: B023
            params = jax.tree_util.tree_map_with_path(draw, shapes)

        def loss(params, decoder=decoder):
            decoded = decoder.apply({"params": params}, latents, image=image, mask=mask)
            return jnp.sum(decoded * image), decoded

        (_, decoded), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
        found[dtype] = decoded, jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(gradients)])
    (exact, gradient), (rounded, rounded_gradient) = found.values()
    rms = jnp.sqrt(jnp.mean(jnp.square(rounded - exact)) / jnp.mean(jnp.square(exact)))
    largest = jnp.max(jnp.abs(rounded - exact)) / jnp.max(jnp.abs(exact))
    apart = jnp.linalg.norm(rounded_gradient - gradient) / jnp.linalg.norm(gradient)
    print(f"decoded: rms {rms:.1e}, largest {largest:.1e}; gradients {apart:.1e}")
    assert 0 < rms < 0.03 and largest < 0.03
    assert apart < 0.15  # of wide decoders less: base at 128 pixels is 0.03 apart

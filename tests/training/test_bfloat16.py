"""bfloat16 computes, float32 remembers."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.errors import InputError
from asym_jax.models.vgg import VGG16
from asym_jax.training.networks import build, initial_state
from asym_jax.training.step import Batch, find_gradients, train_step
from tests.training.test_devices import pictures
from tests.training.tiny import save_vae, tiny_config

BOUNDS = {"loss/pixel": 0.01, "loss/critic": 0.01, "norm/gradient": 0.1, "norm/critic_gradient": 0.05, "adaptive_weight": 0.2}
"""How far four updates may be from those in float32, relative."""


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    return save_vae(tmp_path_factory.mktemp("vae") / "vae", (4, 8))


def prepared(vae: str, dtype: str):
    everything = {"perceptual_dtype": "model"}
    config = tiny_config(vae, model={"dtype": dtype}, loss=everything, optim={"steps": 50, "warmup_steps": 0})
    networks, frozen, given = build(config)
    init = lambda given: initial_state(config, networks, jax.random.key(1), given)  # noqa: E731
    return config, networks, frozen, init, given


def types(tree) -> set[str]:
    return {leaf.dtype.name for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)}


def test_everything_that_lasts_is_float32(vae):
    config, networks, frozen, init, given = prepared(vae, "bfloat16")
    state = jax.eval_shape(init, given)
    pixels = jax.ShapeDtypeStruct((8, 16, 16, 3), jnp.uint8)

    def step(frozen, state, pixels):
        return train_step(networks, config.loss, 0.5, frozen, jax.random.key(0), state, pixels, critic_awake=True)

    following, metrics = jax.eval_shape(step, frozen, state, pixels)
    assert types(state) == types(following) == types(metrics) == {"float32"}

    image = jnp.zeros((8, 16, 16, 3))
    batch = Batch(image, image[..., :1], jnp.zeros((8, 8, 8, 4)))
    found = jax.eval_shape(
        lambda frozen, state: find_gradients(networks, config.loss, frozen, state, batch, critic_awake=True), frozen, state
    )
    assert types(found) == {"float32"}
    features = jax.eval_shape(lambda state: networks.features(state.decoder, batch.noise, image, batch.mask), state)
    assert types(features) == {"bfloat16"}  # or all of this would show nothing


@pytest.fixture(scope="module")
def equations(vae):
    """All of an update's losses and gradients, LPIPS included: (what, where, operands, parameters), inner functions too."""
    config, networks, frozen, init, given = prepared(vae, "bfloat16")
    image = jnp.zeros((8, 16, 16, 3))
    batch = Batch(image, image[..., :1], jnp.zeros((8, 8, 8, 4)))
    heads = tuple(jnp.zeros(width) for width in (64, 128, 256, 512, 512))
    frozen = frozen | {"lpips": {"vgg": jax.eval_shape(VGG16().init, jax.random.key(0), image)["params"], "heads": heads}}
    loss = config.loss.model_copy(update={"perceptual": 1.0})
    program = jax.make_jaxpr(lambda frozen, state: find_gradients(networks, loss, frozen, state, batch, critic_awake=True))(
        frozen, jax.eval_shape(init, given)
    )
    return list(inner(program.jaxpr))


def inner(program):
    for equation in program.eqns:
        yield equation.primitive.name, str(equation.source_info.name_stack), [one.aval for one in equation.invars], equation.params
        values = [value if isinstance(value, tuple | list) else [value] for value in equation.params.values()]
        for value in itertools.chain(*values):
            value = getattr(value, "jaxpr", value)
            if hasattr(value, "eqns"):
                yield from inner(value)


def test_every_convolution_and_product_multiplies_bfloat16(equations):
    products = [one for one in equations if one[0] in ("conv_general_dilated", "dot_general")]
    assert sum(what == "conv_general_dilated" for what, *_ in products) > 100
    wide = [(what, where) for what, where, operands, _ in products if {str(one.dtype) for one in operands} != {"bfloat16"}]
    # Scores of attention are float32 for the softmax, and so is the gradient that comes back: against the query, and the key.
    assert len(wide) == 2 and all(what == "dot_general" and "attentions_0" in where for what, where in wide), wide


@pytest.mark.parametrize(
    ("perceptual", "model", "expected"),
    [
        ("model", "bfloat16", ("bfloat16", "DEFAULT")),
        ("model", "float32", ("float32", "DEFAULT")),
        ("float32", "bfloat16", ("float32", "DEFAULT")),
        ("exact", "bfloat16", ("float32", "HIGHEST")),
    ],
)
def test_how_the_network_of_the_perceptual_loss_multiplies(vae, perceptual, model, expected):
    loss = {"perceptual_dtype": perceptual}
    networks, *_ = build(tiny_config(vae, model={"dtype": model}, loss=loss))
    image = jnp.zeros((1, 16, 16, 3))
    vgg = jax.eval_shape(VGG16().init, jax.random.key(0), image)["params"]
    frozen = {"lpips": {"vgg": vgg, "heads": tuple(jnp.zeros(width) for width in (64, 128, 256, 512, 512))}}
    program = jax.make_jaxpr(networks.perceptual)(frozen, image, image)
    convolutions = [one for one in inner(program.jaxpr) if one[0] == "conv_general_dilated"]
    assert len(convolutions) == 26
    for _, _, operands, params in convolutions:
        assert {one.dtype.name for one in operands} == {expected[0]}
        assert {one.name for one in params["precision"] or (jax.lax.Precision.DEFAULT,)} == {expected[1]}
    assert program.out_avals[0].dtype == jnp.float32


def test_kernels_that_know_one_gpu_only_are_refused_on_more(vae):
    with pytest.raises(InputError, match="model.norm=triton works on one GPU only, and there are 8 devices; use xla"):
        build(tiny_config(vae, model={"norm": "triton"}))


def test_only_gradients_of_strided_convolutions_are_dilated(equations):
    """Accelerators are slow at the others (transposed convolutions), and at gathering and scattering."""
    dilated = [where for what, where, _, params in equations if what == "conv_general_dilated" and max(params["lhs_dilation"]) > 1]
    assert all("transpose" in where and ("condition_encoder" in where or "Critic" in where) for where in dilated), dilated
    assert [(what, where) for what, where, *_ in equations if "gather" in what or "scatter" in what] == []


@pytest.mark.slow
def test_a_few_updates_stay_near_those_in_float32(vae):
    found = {}
    for dtype in ("float32", "bfloat16"):
        config, networks, frozen, init, given = prepared(vae, dtype)

        def step(frozen, state, pixels, networks=networks, config=config):
            return train_step(networks, config.loss, 0.5, frozen, jax.random.key(0), state, pixels, critic_awake=True)

        state, compiled = jax.jit(init)(given), jax.jit(step)
        found[dtype] = []
        for _ in range(4):
            state, metrics = compiled(frozen, state, pictures(8))
            found[dtype].append(jax.device_get(metrics))
    for name, bound in BOUNDS.items():
        exact, rounded = (np.array([step[name] for step in found[dtype]]) for dtype in ("float32", "bfloat16"))
        worst = np.max(np.abs(rounded / exact - 1))
        print(f"{name}: {worst:.1e}")
        assert 0 < worst < bound, f"{name}: {worst}"

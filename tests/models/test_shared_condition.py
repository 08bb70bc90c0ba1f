"""One picture and mask for many latents: the same pictures, and what is made of the condition is made once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.models.autoencoder import AsymmetricAutoencoderKL
from asym_jax.models.condition import Condition
from asym_jax.models.decoder import Decoder

MODEL = AsymmetricAutoencoderKL(
    down_block_out_channels=(4, 8),
    layers_per_down_block=1,
    up_block_out_channels=(8, 12),
    layers_per_up_block=1,
    norm_num_groups=4,
)
SAMPLES = 3


@functools.cache
def example(blend: str):
    """Model, parameters, latents of three samples, and one picture with a soft mask."""
    model, random = MODEL.copy(blend=blend), np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(random.normal(size=shape), jnp.float32)  # noqa: E731
    latents, image = draw(SAMPLES, 4, 6, 4), draw(1, 8, 12, 3)
    mask = jnp.asarray(random.uniform(size=(1, 8, 12, 1)) > 0.5, jnp.float32).at[:, 3].set(0.25)
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)["params"]
    return model, jax.tree.map(lambda leaf: 0.2 * draw(*leaf.shape), shapes), latents, image, mask


# Unoptimised, because compiling takes most of the time.
quick = functools.partial(jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0})


@quick
def decode(model, params, latents, **given):
    return model.apply({"params": params}, latents, **given, method="decode")


@quick
def condition_of(model, params, image, mask):
    return model.apply({"params": params}, image, mask, method="condition")


@pytest.mark.parametrize("blend", ["add", "concatenate"])
def test_pictures_are_those_of_a_picture_for_each_latent(blend):
    model, params, latents, image, mask = example(blend)
    several = [jnp.repeat(array, SAMPLES, axis=0) for array in (image, mask)]
    expected = decode(model, params, latents, image=several[0], mask=several[1])
    kept = condition_of(model, params, image, mask)
    assert {len(array) for array in jax.tree.leaves(kept)} == {1}
    for given in ({"image": image, "mask": mask}, {"condition": kept}):
        np.testing.assert_allclose(decode(model, params, latents, **given), expected, rtol=1e-6, atol=1e-6)
    one_by_one = jnp.concatenate([decode(model, params, latents[i : i + 1], condition=kept) for i in range(SAMPLES)])
    np.testing.assert_allclose(one_by_one, expected, rtol=1e-6, atol=1e-6)


def convolutions(function, *arguments) -> list[int]:
    """Pictures that each convolution works on."""
    program = jax.make_jaxpr(function)(*arguments)
    return [
        equation.invars[0].aval.shape[0] for equation in program.jaxpr.eqns if equation.primitive.name == "conv_general_dilated"
    ]


def test_the_condition_is_computed_once_or_not_at_all():
    model, params, latents, image, mask = example("add")
    plain = convolutions(functools.partial(decode.__wrapped__, model, params), latents)
    assert set(plain) == {SAMPLES}
    shared = convolutions(lambda latents: decode.__wrapped__(model, params, latents, image=image, mask=mask), latents)
    assert sorted(shared) == [1] * 3 + plain  # one convolution for each of two levels, and one more
    kept = condition_of(model, params, image, mask)
    assert convolutions(lambda latents: decode.__wrapped__(model, params, latents, condition=kept), latents) == plain


def test_gradients_flow_through_a_kept_condition():
    """As training may want it: the condition encoder learns from all samples."""
    model, params, latents, image, mask = example("add")

    def loss(kept: bool, params):
        given = {"condition": model.apply({"params": params}, image, mask, method="condition")} if kept else {}
        given = given or {"image": jnp.repeat(image, SAMPLES, axis=0), "mask": jnp.repeat(mask, SAMPLES, axis=0)}
        return jnp.sum(jnp.sin(model.apply({"params": params}, latents, **given, method="decode")))

    ours, theirs = (quick(jax.grad(loss, argnums=1))(kept, params)["decoder"] for kept in (True, False))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), ours, theirs)


def refused():
    model, params, latents, image, mask = example("add")
    kept = condition_of(model, params, image, mask)
    twice = jax.tree.map(lambda array: jnp.repeat(array, 2, axis=0), kept)
    small = condition_of(model, params, image[:, :, :8], mask[:, :, :8])
    return {
        "in the condition already": {"condition": kept, "image": image, "mask": mask},
        "give these two, or that": {"condition": kept, "mask": mask},
        r"the condition's mask has shape \(2, 8, 12, 1\).*need \(3, 8, 12\), or one for all": {"condition": twice},
        r"the condition's mask has shape \(1, 8, 8, 1\)": {"condition": small},
        r"features of \(12, 8\) channels, as of another decoder; this one has \(12, 12, 8\)": {
            "condition": Condition(kept.pyramid[1:], mask)
        },
        r"image has shape \(1, 8, 8, 3\)": {"image": image[:, :, :8], "mask": mask[:, :, :8]},
        "image and mask go together": {"image": image},
    }


@pytest.mark.parametrize("message", refused())
def test_mixtures_that_make_no_sense_are_refused(message):
    model, params, latents, _, _ = example("add")
    with pytest.raises(ValueError, match=message):
        model.apply({"params": params}, latents, **refused()[message], method="decode")


def test_a_plain_decoder_has_no_condition():
    model, params, latents, image, mask = example("add")
    plain = Decoder((8, 12), 1, 4, 4)
    weights = {"params": params["decoder"]}
    for given in ({"image": image, "mask": mask}, {"condition": condition_of(model, params, image, mask)}):
        with pytest.raises(ValueError, match="no condition encoder"):
            plain.apply(weights, latents, **given)
    with pytest.raises(ValueError, match="no condition encoder"):
        plain.apply(weights, image, mask, method="condition")

"""The mask-conditioned decoder: its size, and what the mask must and must not do."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.models.autoencoder import AsymmetricAutoencoderKL, AutoencoderKL
from asym_jax.models.condition import ConditionEncoder
from asym_jax.models.decoder import Decoder

TINY = Decoder((8, 16, 32, 32), layers_per_block=1, latent_channels=4, norm_groups=4, conditional=True)
ENCODER, QUANT_CONV, POST_QUANT_CONV, SD_DECODER = 34_163_592, 72, 20, 49_490_179


def count(tree) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ("channels", "layers", "main", "condition"),
    [
        ((128, 256, 512, 512), 2, SD_DECODER, 10_786_048),
        ((192, 384, 768, 768), 3, 135_872_259, 24_264_576),
        ((256, 512, 1024, 1024), 5, 328_833_027, 43_133_440),
    ],
    ids=["base", "large", "large2x"],
)
def test_sizes_of_the_published_models(channels, layers, main, condition):
    model = AsymmetricAutoencoderKL(up_block_out_channels=channels, layers_per_up_block=layers)
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))["params"]
    assert count(params["decoder"].pop("condition_encoder")) == condition
    assert {name: count(part) for name, part in params.items()} == {
        "encoder": ENCODER,
        "quant_conv": QUANT_CONV,
        "post_quant_conv": POST_QUANT_CONV,
        "decoder": main,
    }


def test_sizes_of_the_plain_model_and_of_each_condition_layer():
    plain = jax.eval_shape(AutoencoderKL().init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))["params"]
    assert (count(plain["encoder"]), count(plain["decoder"])) == (ENCODER, SD_DECODER)
    condition = ConditionEncoder((128, 256, 512, 512))
    pyramid, variables = jax.eval_shape(condition.init_with_output, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    sizes = [count(variables["params"][f"layers_{i}"]) for i in range(5)]
    assert sizes == [3_584, 295_168, 2_097_664, 4_194_816, 4_194_816]
    assert [features.shape[1:] for features in pyramid] == [(16, 16, 128), (16, 16, 256), (8, 8, 512), (4, 4, 512), (2, 2, 512)]


class Example(NamedTuple):
    params: dict
    latents: jax.Array
    image: jax.Array
    mask: jax.Array  # a hole in the middle


@pytest.fixture(scope="module")
def example():
    random = np.random.default_rng(0)
    latents, image = (jnp.asarray(random.normal(size=shape), jnp.float32) for shape in [(2, 2, 3, 4), (2, 16, 24, 3)])
    mask = jnp.zeros((2, 16, 24, 1)).at[:, 3:12, 5:20].set(1.0)
    return Example(draw_params(TINY, latents, image, mask), latents, image, mask)


def draw_params(decoder, latents, image, mask):
    """Random values for every parameter, norms and biases included."""
    random = np.random.default_rng(1)
    shapes = jax.eval_shape(functools.partial(decoder.init, image=image, mask=mask), jax.random.key(0), latents)["params"]
    return jax.tree.map(lambda leaf: jnp.asarray(0.2 * random.normal(size=leaf.shape), jnp.float32), shapes)


@functools.partial(jax.jit, static_argnums=4)
def decode(params, latents, image, mask, decoder=TINY):
    return decoder.apply({"params": params}, latents, image=image, mask=mask)


@jax.jit
def plain(params, latents):
    return TINY.apply({"params": params}, latents)


def test_everything_masked_is_the_plain_decoder(example):
    params, latents, image, mask = example
    ones = jnp.ones_like(mask)
    np.testing.assert_allclose(decode(params, latents, image, ones), plain(params, latents), atol=1e-5)


def test_everything_masked_teaches_the_condition_encoder_nothing(example):
    _, latents, image, mask = example
    decoder = Decoder((8, 16), 0, 4, norm_groups=4, conditional=True)
    image, mask = image[:, :4, :6], mask[:, :4, :6]
    params = draw_params(decoder, latents, image, mask)
    gradient = jax.jit(jax.grad(lambda params: decode(params, latents, image, jnp.ones_like(mask), decoder).sum()))(params)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient["condition_encoder"]))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient["up_blocks_1"]))


def test_nothing_masked_makes_the_latents_irrelevant(example):
    params, latents, image, mask = example
    first, second = (decode(params, z, image, jnp.zeros_like(mask)) for z in (latents, 3 - latents))
    np.testing.assert_array_equal(first, second)
    assert np.any(first != decode(params, latents, image + 1, jnp.zeros_like(mask)))


def test_the_picture_inside_the_hole_is_never_seen(example):
    params, latents, image, mask = example
    before = decode(params, latents, image, mask)
    np.testing.assert_array_equal(before, decode(params, latents, jnp.where(mask == 1, 5.0, image), mask))
    for changed in (decode(params, latents, image.at[:, 0, 0].add(1.0), mask), decode(params, latents + 1, image, mask)):
        assert np.any(before != changed)


def test_each_of_the_five_condition_layers_is_blended_in(example):
    """With kernels of zeros a layer's bias reaches its own blend only."""
    params, latents, image, mask = example
    nothing = jax.tree.map(jnp.zeros_like, params["condition_encoder"])
    before = decode({**params, "condition_encoder": nothing}, latents, image, mask)
    for name, layer in nothing.items():
        condition = {**nothing, name: {**layer, "bias": layer["bias"] + 2}}
        assert np.any(before != decode({**params, "condition_encoder": condition}, latents, image, mask)), name


@pytest.mark.parametrize(("channels", "scale"), [((12, 20, 28), 4), ((4, 8, 12, 20, 36), 16)])
def test_other_numbers_of_levels_and_odd_widths(channels, scale):
    decoder = Decoder(channels, 1, 3, norm_groups=4, conditional=True)
    latents, image = jnp.zeros((1, 2, 3, 3)), jnp.zeros((1, 2 * scale, 3 * scale, 3))
    output, variables = jax.eval_shape(
        functools.partial(decoder.init_with_output, image=image, mask=image[..., :1]), jax.random.key(0), latents
    )
    assert output.shape == image.shape
    assert len(variables["params"]["condition_encoder"]) == len(channels) + 1


def test_concatenation_adds_one_small_convolution_per_blend(example):
    decoder = TINY.copy(blend="concatenate")
    init = functools.partial(decoder.init_with_output, image=example.image, mask=example.mask)
    output, variables = jax.eval_shape(init, jax.random.key(0), example.latents)
    assert output.shape == example.image.shape
    shapes = [variables["params"][f"condition_blends_{i}"]["conv"]["kernel"].shape for i in range(5)]
    assert shapes == [(1, 1, 2 * width, width) for width in (32, 32, 32, 16, 8)]
    assert set(variables["params"]) - {f"condition_blends_{i}" for i in range(5)} == set(example.params)


def test_bfloat16_stays_inside(example):
    decoder = TINY.copy(dtype=jnp.bfloat16)
    init = functools.partial(decoder.init_with_output, image=example.image, mask=example.mask)
    output, variables = jax.eval_shape(init, jax.random.key(0), example.latents)
    assert {leaf.dtype for leaf in jax.tree.leaves((output, variables))} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": None}, "image and mask go together"),
        ({"image": None}, "image and mask go together"),
        (
            {"image": jnp.zeros((2, 16, 16, 3)), "mask": jnp.zeros((2, 16, 16, 1))},
            r"image has shape \(2, 16, 16, 3\).*\(2, 16, 24\)",
        ),
    ],
)
def test_half_a_condition_or_a_wrong_size_is_refused(example, changes, message):
    condition = {"image": example.image, "mask": example.mask} | changes
    with pytest.raises(ValueError, match=message):
        TINY.apply({"params": example.params}, example.latents, **condition)


def test_a_plain_decoder_refuses_a_condition(example):
    with pytest.raises(ValueError, match="no condition encoder"):
        TINY.copy(conditional=False).apply({"params": example.params}, example.latents, image=example.image, mask=example.mask)

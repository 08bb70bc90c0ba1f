"""Autoencoders with a codebook, and attention inside levels, against PyTorch diffusers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.models.autoencoder import AsymmetricAutoencoderKL, AutoencoderKL
from asym_jax.models.vq import AsymmetricVQModel, VQModel
from tests.models.torch_trees import channels_first, channels_last, randomised, tree_of

torch = pytest.importorskip("torch")

TOLERANCE = 1e-4
DOWN, ATTENTIVE_DOWN = "DownEncoderBlock2D", "AttnDownEncoderBlock2D"
UP, ATTENTIVE_UP = "UpDecoderBlock2D", "AttnUpDecoderBlock2D"


def levels(marks: str) -> tuple[bool, ...]:
    """Full resolution first, 1 where there is attention."""
    return tuple(mark == "1" for mark in marks)


# As vq-f16: attention at the lowest resolution. The other has none at all, as vq-f4-noattn, and a wider codebook.
ATTENTIVE = VQModel((4, 8), 2, norm_num_groups=2, num_vq_embeddings=97, down_attention=levels("01"), up_attention=levels("01"))
BARE = VQModel((4, 8), 1, norm_num_groups=2, num_vq_embeddings=64, vq_embed_dim=5, mid_block_add_attention=False)


@pytest.fixture(scope="module", autouse=True)
def one_thread_and_quick_compilation():
    torch.set_num_threads(1)
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def settings(model) -> dict:
    """What the models of PyTorch and of ours call by the same name, and the kinds of their levels."""
    names = ["layers_per_block", "layers_per_down_block", "layers_per_up_block", "block_out_channels", "latent_channels"]
    names += ["down_block_out_channels", "up_block_out_channels", "norm_num_groups", "num_vq_embeddings", "vq_embed_dim"]
    shared = {name: getattr(model, name) for name in names if hasattr(model, name)}
    count = len(shared.get("block_out_channels") or shared["down_block_out_channels"])
    down, up = model.down_attention or levels("0" * count), model.up_attention or levels("0" * count)
    types = {
        "down_block_types": [(DOWN, ATTENTIVE_DOWN)[a] for a in down],
        "up_block_types": [(UP, ATTENTIVE_UP)[a] for a in up[::-1]],
    }
    middle = {} if model.mid_block_add_attention else {"mid_block_add_attention": False}
    return shared | types | middle


@functools.cache
def theirs(model):
    import diffusers.models

    twin = randomised(torch, getattr(diffusers.models, type(model).__name__)(**settings(model)))
    if isinstance(model, VQModel):  # spread like the latents, so that all entries are near to some of them
        twin.quantize.embedding.weight.data.normal_(generator=torch.Generator().manual_seed(1)).mul_(0.5)
    return twin


def pictures(seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, (2, 12, 20, 3)), jnp.float32)


def close(ours, expected) -> None:
    expected = channels_last(expected)
    assert ours.shape == expected.shape and np.std(expected) > 0.05  # dead networks agree on zero
    np.testing.assert_allclose(ours, expected, atol=TOLERANCE)


@pytest.mark.parametrize("model", [ATTENTIVE, BARE], ids=["attentive", "bare"])
def test_parity_with_pytorch(model):
    twin, images = theirs(model), pictures()
    weights = {"params": tree_of(twin)}
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
    assert jax.tree.map(jnp.shape, weights["params"]) == jax.tree.map(jnp.shape, shapes)
    with torch.no_grad():
        latents = twin.encode(channels_first(torch, images)).latents
        decoded = twin.decode(latents).sample
        quantised, _, (_, _, indices) = twin.quantize(latents)
        decoder_input = twin.post_quant_conv(quantised)
    assert len(np.unique(indices)) > 5
    found = jax.jit(functools.partial(model.apply, method="encode"))(weights, images)
    close(found.mean, latents)
    assert found.mean.shape[-1] == (model.vq_embed_dim or model.latent_channels)
    np.testing.assert_array_equal(found.sample(jax.random.key(3)), found.mean)
    close(jax.jit(functools.partial(model.apply, method="decode"))(weights, found.mean), decoded)
    close(jax.jit(functools.partial(model.apply, method="decoder_input"))(weights, found.mean), decoder_input)
    close(jax.jit(model.apply)(weights, images), decoded)


@pytest.mark.parametrize(
    "model",
    [
        AutoencoderKL((4, 8), 2, norm_num_groups=2, up_attention=levels("10"), mid_block_add_attention=False),
        # PyTorch derives the widths of its condition encoder from the first and the last, for four levels.
        AsymmetricAutoencoderKL(
            (2, 4, 4, 6), 1, (4, 8, 16, 16), 1, norm_num_groups=2, down_attention=levels("0101"), up_attention=levels("0010")
        ),
    ],
    ids=["symmetric", "asymmetric"],
)
def test_attention_inside_levels_of_the_others(model):
    twin = theirs(model)
    weights, images = {"params": tree_of(twin)}, jnp.pad(pictures(), ((0, 0), (0, 4), (0, 4), (0, 0)))
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
    assert jax.tree.map(jnp.shape, weights["params"]) == jax.tree.map(jnp.shape, shapes)
    mask = jnp.zeros_like(images[..., :1]).at[:, 3:12, 5:].set(1.0)
    conditional = isinstance(model, AsymmetricAutoencoderKL)
    with torch.no_grad():
        first = channels_first(torch, images)
        latents = twin.encode(first).latent_dist.mean
        condition = {"image": first, "mask": channels_first(torch, mask)} if conditional else {}
        decoded = twin.decode(latents, **condition).sample
    mean = jax.jit(lambda weights, images: model.apply(weights, images, method="encode").mean)(weights, images)
    close(mean, latents)
    condition = {"image": images, "mask": mask} if conditional else {}
    close(jax.jit(functools.partial(model.apply, method="decode"))(weights, mean, **condition), decoded)


def test_another_number_of_levels_is_refused():
    with pytest.raises(ValueError, match=r"attention=\(True, False, True\) has 3 levels, and the widths have 2"):
        jax.eval_shape(ATTENTIVE.copy(up_attention=levels("101")).init, jax.random.key(0), pictures())


@pytest.fixture(scope="module")
def asymmetric():
    """The frozen half of ATTENTIVE and its decoder, with a condition encoder of random weights besides."""
    model = AsymmetricVQModel(
        ATTENTIVE.block_out_channels,
        ATTENTIVE.layers_per_block,
        ATTENTIVE.block_out_channels,
        ATTENTIVE.layers_per_block,
        norm_num_groups=2,
        num_vq_embeddings=97,
        down_attention=ATTENTIVE.down_attention,
        up_attention=ATTENTIVE.up_attention,
    )
    params = tree_of(theirs(ATTENTIVE))
    shapes = jax.eval_shape(model.init, jax.random.key(0), pictures())["params"]["decoder"]["condition_encoder"]
    random = np.random.default_rng(0)
    condition = jax.tree.map(lambda leaf: jnp.asarray(0.3 * random.normal(size=leaf.shape), jnp.float32), shapes)
    return model, {"params": params | {"decoder": params["decoder"] | {"condition_encoder": condition}}}


def test_an_asymmetric_decoder_on_top(asymmetric):
    """Everything masked is the plain decoder; nothing masked makes the latents irrelevant; so does a hole, for what lies in it."""
    model, weights = asymmetric
    images, others = pictures(), pictures(1)
    encode = jax.jit(lambda images: model.apply(weights, images, method="encode").mean)
    decode = jax.jit(lambda latents, image, mask: model.apply(weights, latents, image=image, mask=mask, method="decode"))
    plain = jax.jit(ATTENTIVE.apply)({"params": tree_of(theirs(ATTENTIVE))}, images)
    ones = jnp.ones_like(images[..., :1])
    np.testing.assert_allclose(decode(encode(images), images, ones), plain, atol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda z: model.apply(weights, z, method="decode"))(encode(images)), plain, atol=1e-5)
    np.testing.assert_array_equal(decode(encode(images), images, 0 * ones), decode(encode(others), images, 0 * ones))
    hole = ones.at[:, :8].set(0.0)
    seen = decode(encode(images), images, hole)
    np.testing.assert_array_equal(seen, decode(encode(images), jnp.where(hole == 1, others, images), hole))
    assert np.abs(seen - plain).max() > 0.1


def test_near_latents_decode_alike_and_without_a_gradient(asymmetric):
    """Equation 1: only the nearest entry counts."""
    model, weights = asymmetric
    entries = weights["params"]["quantize"]["embedding"]["embedding"]
    chosen = entries[jnp.array([5, 90, 33, 5, 0, 96])].reshape(1, 2, 3, 3)
    into = jax.jit(lambda latents: model.apply(weights, latents, method="decoder_input"))
    convolution = weights["params"]["post_quant_conv"]
    expected = np.asarray(chosen) @ np.asarray(convolution["kernel"])[0, 0] + np.asarray(convolution["bias"])
    np.testing.assert_allclose(into(chosen + 1e-3), expected, atol=1e-5)
    gradient = jax.jit(jax.grad(lambda latents: model.apply(weights, latents, method="decoder_input").sum()))(chosen)
    assert not np.any(gradient)


def test_bfloat16_stays_inside():
    model = BARE.copy(dtype=jnp.bfloat16)
    outputs = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), pictures()))
    latents = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), pictures(), method="encode")[0])
    assert {leaf.dtype for leaf in jax.tree.leaves((outputs, latents))} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("model", "count"),
    [
        # Counted in PyTorch diffusers 0.39 with LDM's settings.
        (VQModel(), 55_322_782),
        (
            VQModel(
                (128, 128, 256, 256, 512),
                latent_channels=8,
                num_vq_embeddings=16384,
                down_attention=levels("00001"),
                up_attention=levels("00001"),
            ),
            69_593_371,
        ),
    ],
    ids=["vq-f4", "vq-f16"],
)
def test_sizes_of_the_published_models(model, count):
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count

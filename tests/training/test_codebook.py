"""A training on a first stage with a codebook: what moves, what must not, and which decoders may be started from."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.arrays import Params
from asym_jax.data.evaluation_sets.examples import EvaluationExample
from asym_jax.errors import InputError
from asym_jax.evaluation.encoded import EncodedLatents
from asym_jax.evaluation.generate import generate
from asym_jax.evaluation.subjects import load_subjects, require_same_encoder
from asym_jax.evaluation.versions import Plan
from asym_jax.evaluation.workbook import Workbook
from asym_jax.models.autoencoder import AsymmetricAutoencoderKL
from asym_jax.models.vq import AsymmetricVQModel, VQModel
from asym_jax.training.networks import build, initial_state
from asym_jax.training.step import train_step
from asym_jax.weights import load_pretrained, save_pretrained
from asym_jax.weights.architecture import Autoencoder, abstract_params
from tests.training.tiny import tiny_config

VAE = VQModel((4,), 1, norm_num_groups=2, num_vq_embeddings=20, down_attention=(True,), up_attention=(True,))
configured = functools.partial(tiny_config, channels=(4,))
FROZEN = {"encoder", "quant_conv", "quantize", "post_quant_conv"}


def save(folder: Path, model: Autoencoder, frozen: Params | None = None) -> str:
    """Random weights, norm scales around 1, and entries as far apart as latents are; `frozen` takes the place of its namesakes."""
    random = np.random.default_rng(0)

    def draw(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        fan_in = 1 if path[-1].key == "embedding" else max(np.prod(leaf.shape[:-1]), 10)
        return (random.normal(size=leaf.shape) * fan_in**-0.5 + (path[-1].key == "scale")).astype(np.float32)

    params = jax.tree_util.tree_map_with_path(draw, abstract_params(model))
    save_pretrained(folder, model, params | (frozen or {}))
    return str(folder)


@pytest.fixture(scope="module")
def vae(tmp_path_factory) -> str:
    return save(tmp_path_factory.mktemp("vq") / "vae", VAE)


@pytest.fixture(scope="module")
def trained(vae):
    """Networks, frozen weights before, and the state after three steps with a critic."""
    config = configured(vae)
    networks, frozen, given = build(config)
    state = jax.jit(lambda key: initial_state(config, networks, key, given))(jax.random.key(0))
    before = jax.tree.map(np.array, (frozen, state.decoder))
    step = jax.jit(
        lambda frozen, state, pixels: train_step(
            networks, config.loss, config.optim.ema_decay, frozen, jax.random.key(1), state, pixels, critic_awake=True
        )
    )
    pixels = jnp.asarray(np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8))
    losses = []
    for _ in range(3):
        state, metrics = step(frozen, state, pixels)
        losses.append({name: float(value) for name, value in metrics.items()})
    return networks, before, frozen, state, losses


def test_the_decoder_learns_and_the_rest_stays(trained, vae):
    networks, (frozen_before, decoder_before), frozen, state, losses = trained
    assert isinstance(networks.vae, VQModel) and isinstance(networks.model, AsymmetricVQModel)
    assert all(loss["finite"] == 1 and loss["norm/update"] > 0 and loss["adaptive_weight"] > 0 for loss in losses)
    assert losses[-1]["loss/pixel"] < losses[0]["loss/pixel"]
    jax.tree.map(np.testing.assert_array_equal, frozen, frozen_before)
    jax.tree.map(np.testing.assert_array_equal, frozen["vae"], load_pretrained(vae)[1])
    moved = jax.tree.map(lambda old, new: bool(np.any(old != new)), decoder_before, state.decoder)
    assert moved["up_blocks_0"]["attentions_1"]["value"]["kernel"] and moved["condition_encoder"]["layers_0"]["kernel"]
    assert frozen["vae"].keys() == FROZEN | {"decoder"}


def test_latents_are_quantised_and_without_noise(trained):
    networks, _, frozen, _, _ = trained
    image = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (2, 16, 24, 3)), jnp.float32)
    noises = (networks.draw_noise(jax.random.key(seed), image) for seed in (0, 1))
    first, second = (jax.jit(networks.encode)(frozen, noise, image) for noise in noises)
    np.testing.assert_array_equal(first, second)
    weights = frozen["vae"]["post_quant_conv"]
    entries, kernel, bias = map(
        np.asarray, (frozen["vae"]["quantize"]["embedding"]["embedding"], weights["kernel"], weights["bias"])
    )
    possible = entries @ kernel[0, 0] + bias
    distances = np.abs(np.asarray(first).reshape(-1, 1, 3) - possible.reshape(1, -1, 3)).max(axis=-1)
    assert distances.min(axis=1).max() < 1e-5
    assert len(set(distances.argmin(axis=1))) > 3


def test_the_result_is_saved_and_evaluated(trained, vae, tmp_path):
    """Both decoders of a report see the same quantised latents."""
    networks, _, frozen, state, _ = trained
    whole = networks.whole(frozen, state.decoder)
    assert whole.keys() == FROZEN | {"decoder"}
    save_pretrained(tmp_path / "decoder", networks.model, whole)
    model, params = load_pretrained(tmp_path / "decoder", dtype="float32")
    assert model == networks.model
    subjects = load_subjects([], [str(tmp_path / "decoder")], vae)
    pixels = np.random.default_rng(2).integers(0, 256, (2, 16, 16, 3), np.uint8)
    masks = np.zeros((2, 16, 16, 1), np.float32)
    masks[:, 4:9, 4:9] = 1
    examples = [EvaluationExample(i, f"{i}", pixels[i], masks[i]) for i in range(2)]
    book, source = Workbook(tmp_path / "out", {}), EncodedLatents(subjects)
    assert "codebook" in source.described
    generate(subjects, source, Plan(conditioned=True), examples, book, rows=1, how="round", advance=lambda n: None)
    image = jnp.asarray(pixels / 127.5 - 1, jnp.float32)
    for name, decoded in zip(
        ("vanilla", "decoder"), jax.jit(networks.reconstruct)(frozen, state.decoder, image, masks), strict=True
    ):
        for i in range(2):
            expected = np.clip(np.rint((np.asarray(decoded[i]) + 1) * 127.5), 0, 255)
            assert np.abs(book.read(name, f"{i}").astype(int) - expected).max() <= 1
    other = subjects.vae_params | {"quantize": jax.tree.map(lambda entries: entries + 1, subjects.vae_params["quantize"])}
    with pytest.raises(InputError, match="their quantizes differ"):
        require_same_encoder(subjects._replace(vae_params=other))


def test_decoders_to_start_from(vae, tmp_path):
    attention = {"down_attention": (True,), "up_attention": (True,)}
    fits = AsymmetricVQModel((4,), 1, (4,), 1, norm_num_groups=2, num_vq_embeddings=20, **attention)
    halves = {name: tree for name, tree in load_pretrained(vae)[1].items() if name != "decoder"}
    _, frozen, given = build(configured(vae, model={"init": save(tmp_path / "fits", fits, halves)}))
    jax.tree.map(np.testing.assert_array_equal, given, load_pretrained(tmp_path / "fits")[1]["decoder"])
    _, _, given = build(configured(vae, model={"init": "vae"}))
    assert "condition_encoder" not in given
    jax.tree.map(np.testing.assert_array_equal, given, frozen["vae"]["decoder"])
    assert build(configured(vae, model={"init": "random"}))[2] is None
    rounded = {name: jax.tree.map(lambda leaf: leaf.astype(np.float16).astype(np.float32), tree) for name, tree in halves.items()}
    assert build(configured(vae, model={"init": save(tmp_path / "rounded", fits, rounded)}))[2] is not None
    moved = halves | {"post_quant_conv": halves["post_quant_conv"] | {"bias": halves["post_quant_conv"]["bias"] + 0.01}}
    with pytest.raises(InputError, match="was trained for another autoencoder than.*their post_quant_convs differ"):
        build(configured(vae, model={"init": save(tmp_path / "moved", fits, moved)}))
    lacking = save(tmp_path / "without attention", fits.clone(up_attention=()), halves)
    with pytest.raises(InputError, match=r"for another autoencoder.*\(up_attention, mid_block_add_attention\) are \(\(\), True\)"):
        build(configured(vae, model={"init": lacking}))
    gaussian = AsymmetricAutoencoderKL((4,), 1, (4,), 1, norm_num_groups=2, up_attention=(True,))
    with pytest.raises(InputError, match="was trained for another autoencoder than.*their encoders differ"):
        build(configured(vae, model={"init": save(tmp_path / "four latent channels", gaussian)}))
    with pytest.raises(InputError, match="their quantizes differ"):
        other = halves | {"quantize": jax.tree.map(lambda entries: entries + 1, halves["quantize"])}
        build(configured(vae, model={"init": save(tmp_path / "other codebook", fits, other)}))
    with pytest.raises(InputError, match="a plain AutoencoderKL is needed, or a VQModel"):
        build(configured(str(tmp_path / "fits")))
    with pytest.raises(InputError, match="model.norm_groups=4, but the encoder of .* has 2"):
        build(configured(vae, model={"norm_groups": 4}))

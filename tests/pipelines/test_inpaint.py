"""Inpainting against PyTorch's pipeline, and what every batch must have in common."""

import copy
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

torch = pytest.importorskip("torch")

import diffusers  # noqa: E402

from asym_jax.errors import InputError  # noqa: E402
from asym_jax.pipelines import FlaxAsymmetricInpaintPipeline, FlaxAsymmetricTextToImagePipeline  # noqa: E402
from asym_jax.pipelines.denoise import FIRST_STEP, POSTERIOR, START, noise_for, picture_keys  # noqa: E402
from asym_jax.pipelines.schedule import Sampling  # noqa: E402
from asym_jax.weights import load_pretrained  # noqa: E402
from tests.pipelines import tiny  # noqa: E402

HEIGHT, WIDTH = 48, 80
LATENT = (HEIGHT // 8, WIDTH // 8, 4)
PROMPTS = ["a b c", "d e", "f g h i"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("inpaint"), in_channels=9)


@pytest.fixture(scope="module")
def loaded(folder: Path):
    return FlaxAsymmetricInpaintPipeline.from_pretrained(folder, folder / "asymmetric")


@pytest.fixture(autouse=True)
def lenient():
    """diffusers broadcasts ranks."""
    with jax.numpy_rank_promotion("allow"):
        yield


def batch(pipeline, count: int, index=None):
    pictures, masks = tiny.pictures(3, HEIGHT, WIDTH), tiny.holes(3, HEIGHT, WIDTH)
    return pipeline.prepare(PROMPTS[:count], list(pictures[:count]), list(masks[:count]), index=index)


DDIM = Sampling("ddim", 4, eta=1.0, guidance=3.0)
PLMS = Sampling("plms", 3, guidance=2.0)  # four evaluations too


@pytest.mark.parametrize(("kind", "sampling"), [("ddim", DDIM), ("plms", PLMS)])
def test_pictures_are_those_of_pytorch(loaded, kind, sampling, monkeypatch):
    pipeline, params = loaded
    inputs = batch(pipeline, 2, index=[7, 3])
    latents = pipeline.latents(params, inputs, seed=5, sampling=sampling)
    ours = pipeline.decode(params, latents, image=inputs.image, mask=inputs.mask)

    keys = picture_keys(5, inputs.index)
    start, posterior, *steps = (noise_for(keys, role, LATENT) for role in (START, POSTERIOR, *range(FIRST_STEP, FIRST_STEP + 4)))
    monkeypatch.setattr("diffusers.models.autoencoders.vae.randn_tensor", tiny.Queue(posterior, posterior))
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddim.randn_tensor", tiny.Queue(*steps))
    theirs = in_torch(kind, pipeline.tokenizer)(
        prompt=PROMPTS[:2],
        image=tiny.channels_first(inputs.image / 2 + 0.5),
        mask_image=tiny.channels_first(inputs.mask),
        height=HEIGHT,
        width=WIDTH,
        latents=tiny.channels_first(start),
        output_type="pt",
        num_inference_steps=sampling.steps,
        guidance_scale=sampling.guidance,
        eta=sampling.eta,
    ).images
    np.testing.assert_allclose(np.clip(ours / 2 + 0.5, 0, 1), theirs.numpy().transpose(0, 2, 3, 1), atol=1e-3)


def test_the_decoder_sees_whole_pictures_and_soft_masks(loaded, folder):
    pipeline, params = loaded
    inputs = batch(pipeline, 2)
    soft = inputs._replace(mask=np.float32(0.3) + np.float32(0.4) * inputs.mask)
    latents = pipeline.latents(params, soft, sampling=DDIM)
    np.testing.assert_array_equal(latents, pipeline.latents(params, inputs, sampling=DDIM))  # the network sees it cut at 0.5
    model, weights = load_pretrained(folder / "asymmetric")
    alone = jax.jit(
        lambda p, z: model.apply({"params": p}, z, image=jnp.asarray(soft.image), mask=jnp.asarray(soft.mask), method="decode")
    )(weights, latents)
    np.testing.assert_array_equal(pipeline.decode(params, latents, image=soft.image, mask=soft.mask), alone)
    generated = pipeline.generate(params, soft, sampling=DDIM)
    np.testing.assert_array_equal(generated.images, np.clip(alone, -1, 1))
    assert not generated.flagged.any()


def test_one_picture_may_stand_for_all_prompts(loaded):
    pipeline, params = loaded
    pictures, masks = tiny.pictures(1, HEIGHT, WIDTH), tiny.holes(1, HEIGHT, WIDTH)
    shared = pipeline.prepare(PROMPTS[:2], list(pictures), list(masks))
    assert shared.image.shape[0] == shared.mask.shape[0] == 1
    repeated = pipeline.prepare(PROMPTS[:2], list(pictures) * 2, list(masks) * 2)
    ours, theirs = (pipeline.latents(params, inputs, seed=1, sampling=DDIM) for inputs in (shared, repeated))
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())  # as in the next test
    decoded = [pipeline.decode(params, theirs, image=one.image, mask=one.mask) for one in (shared, repeated)]
    np.testing.assert_allclose(*decoded, atol=1e-5)
    for count, holes in ((2, 1), (3, 3)):
        with pytest.raises(InputError, match=f"2 prompts, {count} pictures and {holes} masks: give one of each"):
            pipeline.prepare(PROMPTS[:2], list(pictures) * count, list(masks) * holes)


def test_latents_depend_on_nothing_but_picture_index_and_seed(loaded, folder):
    pipeline, params = loaded
    two = batch(pipeline, 2, index=[4, 9])

    def latents(inputs, seed=1):
        return np.asarray(pipeline.latents(params, inputs, seed=seed, sampling=DDIM))

    together = latents(two)
    turned = latents(jax.tree.map(lambda leaf: leaf[::-1], two))
    np.testing.assert_allclose(together, turned[::-1], atol=1e-5)
    alone = latents(jax.tree.map(lambda leaf: leaf[1:], two))
    # Another batch size takes other ways through the convolutions, and random weights make much of the last bits.
    np.testing.assert_allclose(together[1:], alone, atol=1e-4 * np.abs(together).max())
    assert np.abs(together - latents(two, seed=2)).max() > 0.1
    assert np.abs(together - latents(two._replace(index=np.arange(2)))).max() > 0.1
    plain, plain_params = FlaxAsymmetricInpaintPipeline.from_pretrained(folder)  # with the folder's own decoder
    np.testing.assert_array_equal(together, plain.latents(plain_params, two, seed=1, sampling=DDIM))


@pytest.mark.slow
def test_one_device_and_eight_give_the_same(loaded):
    pipeline, params = loaded
    few = batch(pipeline, 2)
    inputs = jax.tree.map(lambda leaf: np.concatenate([leaf] * 4), few)._replace(index=np.arange(8))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    spread = jax.device_put(inputs, NamedSharding(mesh, P("data")))
    everywhere = jax.device_put(params, NamedSharding(mesh, P()))
    results = []
    for weights, rows in ((params, inputs), (everywhere, spread)):
        latents = pipeline.latents(weights, rows, sampling=PLMS)
        results.append((latents, pipeline.decode(weights, latents, image=rows.image, mask=rows.mask)))
    assert len(results[1][1].sharding.device_set) == 8
    for one, eight in zip(*results, strict=True):
        np.testing.assert_allclose(one, eight, atol=1e-4 * np.abs(one).max())
    last = jax.tree.map(lambda leaf: leaf[-1:], inputs)  # as many pictures as each of the eight devices has: to the same bits
    np.testing.assert_array_equal(results[1][0][-1:], pipeline.latents(params, last, sampling=PLMS))


def stock_arguments(inputs, params) -> tuple:
    image, mask = (np.asarray(array).transpose(0, 3, 1, 2) for array in (inputs.image, inputs.mask))
    return inputs.prompt_ids, mask, image * (1 - mask), params, jax.random.PRNGKey(0)


def start_noise(count: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 4, *LATENT[:2])).astype(np.float32)


@pytest.mark.slow
def test_called_as_in_diffusers_with_several_pictures(loaded, monkeypatch):
    pipeline, params = loaded
    inputs = batch(pipeline, 2)
    seen = []
    real = type(pipeline.vae).decode

    def decode(self, latents, *given, **conditions):
        seen.append(latents)
        return real(self, latents, *given, **conditions)

    monkeypatch.setattr(type(pipeline.vae), "decode", decode)
    images = pipeline(*stock_arguments(inputs, params), 2, latents=start_noise(2), guidance_scale=3.0).images
    latents = jnp.asarray(seen[-1]).transpose(0, 2, 3, 1)
    alone = pipeline.decode(params, latents, image=inputs.image, mask=inputs.mask)
    np.testing.assert_allclose(images, np.clip(alone / 2 + 0.5, 0, 1), atol=1e-5)


@pytest.mark.slow
def test_called_as_in_diffusers_by_pmap(loaded):
    pipeline, params = loaded
    inputs = batch(pipeline, 1)
    devices = jax.device_count()
    *arrays, _, key = stock_arguments(inputs, params)
    single = pipeline(*arrays, params, key, 2, latents=start_noise(1), guidance_scale=3.0).images
    many = jax.tree.map(lambda leaf: np.stack([leaf] * devices), (*arrays, params, key))
    latents = np.stack([start_noise(1)] * devices)
    images = pipeline(*many, 2, latents=latents, guidance_scale=3.0, jit=True).images
    assert images.shape == (devices, 1, HEIGHT, WIDTH, 3)
    np.testing.assert_allclose(images, np.stack([single] * devices), atol=1e-5)


@pytest.mark.slow
def test_the_loop_of_diffusers_under_jit(loaded):
    pipeline, params = loaded
    inputs = batch(pipeline, 2)
    arguments = stock_arguments(inputs, params)
    called = pipeline(*arguments, 2, latents=start_noise(2), guidance_scale=3.0).images
    compiled = jax.jit(pipeline._generate, static_argnums=(5, 6, 7))  # steps, height and width
    images = compiled(*arguments, 2, HEIGHT, WIDTH, 3.0, start_noise(2))
    np.testing.assert_allclose(images, called, atol=1e-5)
    assert np.abs(images[0] - images[1]).max() > 0.1


def test_a_pipeline_of_diffusers_takes_another_decoder(loaded, folder):
    pipeline, params = loaded
    stock = diffusers.FlaxStableDiffusionInpaintPipeline(
        vae=diffusers.FlaxAutoencoderKL(
            block_out_channels=(4, 8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            norm_num_groups=4,
        ),
        **{name: getattr(pipeline, name) for name in ("text_encoder", "tokenizer", "unet", "scheduler")},
        safety_checker=None,
        feature_extractor=None,
    )
    plain, plain_params = FlaxAsymmetricInpaintPipeline.from_pretrained(folder)
    adopted, weights = FlaxAsymmetricInpaintPipeline.from_pipeline(stock, plain_params, folder / "asymmetric")
    assert adopted.vae.model == pipeline.vae.model
    tiny.assert_same_parameters(weights, params)
    without, weights = FlaxAsymmetricInpaintPipeline.from_pipeline(stock, plain_params)
    assert without.vae.model == plain.vae.model.clone(sample_size=32)  # which says nothing but what diffusers was told above
    assert weights["vae"] is plain_params["vae"]
    foreign = jax.tree.map(lambda leaf: leaf + 1, params["vae"])
    with pytest.raises(InputError, match="was not trained for this pipeline's latents: their encoders differ"):
        FlaxAsymmetricInpaintPipeline.from_pipeline(stock, plain_params, (pipeline.vae.model, foreign))


def test_a_pipeline_for_another_task_is_refused(loaded):
    pipeline, params = loaded
    with pytest.raises(InputError, match="^the pipeline has a network of 9 input channels, and text to image needs one of 4$"):
        FlaxAsymmetricTextToImagePipeline.from_pipeline(pipeline, params)
    other = copy.copy(pipeline)
    other.unet = SimpleNamespace(config=SimpleNamespace(in_channels=4))
    with pytest.raises(InputError, match="^the pipeline has a network of 4 input channels, and inpainting needs one of 9$"):
        FlaxAsymmetricInpaintPipeline.from_pipeline(other, params)


def test_the_decoder_is_kept_in_the_type_of_the_pipeline(loaded, folder):
    half = {"dtype": jnp.bfloat16, "param_dtype": jnp.bfloat16}
    pipeline, params = FlaxAsymmetricInpaintPipeline.from_pretrained(folder, folder / "asymmetric", **half)
    adopted, shared = FlaxAsymmetricInpaintPipeline.from_pipeline(pipeline, params, folder / "asymmetric")
    rounded = jax.tree.map(lambda leaf: np.asarray(leaf).astype(jnp.bfloat16), loaded[1]["vae"])
    for vae, weights in ((pipeline.vae, params), (adopted.vae, shared)):
        assert vae.model.dtype == jnp.bfloat16
        for part in ("vae", "unet", "text_encoder"):
            assert {leaf.dtype for leaf in jax.tree.leaves(weights[part])} == {jnp.dtype("bfloat16")}, part
        jax.tree.map(np.testing.assert_array_equal, weights["vae"], rounded)
    _, shared = FlaxAsymmetricInpaintPipeline.from_pipeline(pipeline, params, (loaded[0].vae.model, loaded[1]["vae"]))
    assert shared["vae"] is loaded[1]["vae"]  # what the user has made is left as it is
    foreign = jax.tree.map(lambda leaf: leaf + leaf.dtype.type(1), rounded)
    with pytest.raises(InputError, match="their encoders differ"):  # in half precision too
        FlaxAsymmetricInpaintPipeline.from_pipeline(pipeline, params, (pipeline.vae.model, foreign))


def test_round_trip(loaded, folder, tmp_path):
    pipeline, params = loaded
    for _ in range(2):  # the second time over the first
        pipeline.save_pretrained(tmp_path / "saved", params)
    again, weights = FlaxAsymmetricInpaintPipeline.from_pretrained(tmp_path / "saved")
    tiny.assert_same_parameters(params, weights)
    inputs = batch(pipeline, 1)
    np.testing.assert_array_equal(again.prepare(PROMPTS[:1], list(inputs.image), list(inputs.mask)).prompt_ids, inputs.prompt_ids)
    assert again.vae.model == pipeline.vae.model
    for part in ("unet", "scheduler"):
        one, other = (getattr(p, part).config for p in (pipeline, again))
        assert {k: v for k, v in one.items() if k[0] != "_"} == {k: v for k, v in other.items() if k[0] != "_"}
    assert again.text_encoder.config.to_dict() == pipeline.text_encoder.config.to_dict()


def test_what_cannot_be_is_refused(loaded, tmp_path):
    pipeline, params = loaded
    picture, hole = np.zeros((50, 80, 3), np.uint8), np.zeros((50, 80), np.uint8)
    with pytest.raises(InputError, match="multiples of 16; resize pictures and masks to 48 x 80"):
        pipeline.prepare(["a"], [picture], [hole])
    with pytest.raises(InputError, match=r"must be in \[0, 1\]; this one has 0 to 255"):
        pipeline.prepare(["a"], [np.zeros((48, 80, 3))], [255 * np.eye(48, 80)])
    inputs = batch(pipeline, 1)
    arrays = (inputs.prompt_ids, *(a.transpose(0, 3, 1, 2) for a in (inputs.mask, inputs.image)), params, jax.random.PRNGKey(0))
    with pytest.raises(InputError, match="must have one size"):
        pipeline(*arrays, 4, height=512, width=512)
    with pytest.raises(InputError, match="one number"):
        pipeline(*arrays, 4, guidance_scale=jnp.ones(2))
    with pytest.raises(InputError, match="there is no folder"):
        FlaxAsymmetricInpaintPipeline.from_pretrained(tmp_path / "nothing")


def in_torch(kind: str, words):
    pipeline = diffusers.StableDiffusionInpaintPipeline(
        vae=tiny.asymmetric(),
        text_encoder=tiny.text_encoder(),
        tokenizer=words,
        unet=tiny.unet(9),
        scheduler=tiny.scheduler(kind),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline

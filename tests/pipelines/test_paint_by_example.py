"""Paint by Example against PyTorch's pipeline."""

from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from diffusers.pipelines.deprecated.paint_by_example import PaintByExamplePipeline  # noqa: E402

from asym_jax.errors import InputError  # noqa: E402
from asym_jax.pipelines import FlaxAsymmetricInpaintPipeline, FlaxPaintByExamplePipeline  # noqa: E402
from asym_jax.pipelines.denoise import POSTERIOR, START, noise_for, picture_keys  # noqa: E402
from asym_jax.pipelines.paint_by_example import bilinear  # noqa: E402
from asym_jax.pipelines.schedule import Sampling  # noqa: E402
from asym_jax.weights import load_pretrained  # noqa: E402
from tests.pipelines import tiny  # noqa: E402

HEIGHT, WIDTH = 48, 80
PLMS = Sampling("plms", 3, guidance=5.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("example"), in_channels=9, kind="plms", example=True, safe=False)


@pytest.fixture(scope="module")
def loaded(folder: Path):
    return FlaxPaintByExamplePipeline.from_pretrained(folder)  # .bin files


@pytest.fixture(autouse=True)
def lenient():
    with jax.numpy_rank_promotion("allow"):
        yield


def test_pictures_are_those_of_pytorch_and_survive_a_round_trip(loaded, folder, tmp_path, monkeypatch):
    pipeline, params = loaded[0], dict(loaded[1])
    examples = [Image.fromarray(np.uint8(127.5 * (p + 1))) for p in tiny.pictures(2, 30, 50)]
    inputs = pipeline.prepare(examples, list(tiny.pictures(2, HEIGHT, WIDTH)), list(tiny.holes(2, HEIGHT, WIDTH)), index=[5, 1])
    latents = pipeline.latents(params, inputs, seed=2, sampling=PLMS)
    ours = pipeline.decode(params, latents, image=inputs.image, mask=inputs.mask)

    keys = picture_keys(2, inputs.index)
    start, posterior = (noise_for(keys, role, (HEIGHT // 8, WIDTH // 8, 4)) for role in (START, POSTERIOR))
    monkeypatch.setattr("diffusers.models.autoencoders.vae.randn_tensor", tiny.Queue(posterior))
    parts = {"vae": tiny.vae(), "image_encoder": tiny.image_encoder(), "unet": tiny.unet(9), "scheduler": tiny.scheduler("plms")}
    theirs = PaintByExamplePipeline(**parts, safety_checker=None, feature_extractor=None)
    theirs.set_progress_bar_config(disable=True)
    result = theirs(
        example_image=tiny.channels_first(inputs.examples),
        image=tiny.channels_first(inputs.image),
        mask_image=tiny.channels_first(inputs.mask),
        latents=tiny.channels_first(start),
        num_inference_steps=PLMS.steps,
        guidance_scale=PLMS.guidance,
        output_type="np",
    ).images
    np.testing.assert_allclose(np.clip(ours / 2 + 0.5, 0, 1), result, atol=1e-3)

    pipeline.save_pretrained(tmp_path / "saved", params)
    again, weights = FlaxPaintByExamplePipeline.from_pretrained(tmp_path / "saved", folder / "asymmetric")
    vae = weights.pop("vae"), params.pop("vae")
    tiny.assert_same_parameters(weights, params)
    jax.tree.map(np.testing.assert_array_equal, *(one["encoder"] for one in vae))
    assert again.image_encoder.config.to_dict() == pipeline.image_encoder.config.to_dict()
    restored = again.decode({"vae": vae[0]}, latents, image=inputs.image, mask=inputs.mask)
    assert np.abs(restored - ours).max() > 0.1  # another decoder


def test_a_loaded_pipeline_takes_another_decoder(loaded, folder):
    pipeline, params = loaded
    own = pipeline.vae, params["vae"]
    other, weights = FlaxPaintByExamplePipeline.from_pipeline(pipeline, params, folder / "asymmetric")
    model, expected = load_pretrained(folder / "asymmetric")
    assert other.vae.model == model
    jax.tree.map(np.testing.assert_array_equal, weights["vae"], expected)
    assert all(weights[part] is params[part] for part in ("image_encoder", "unet", "scheduler"))
    assert pipeline.vae is own[0] and params["vae"] is own[1]
    assert type(own[0].model) is not type(model)
    foreign = jax.tree.map(lambda leaf: np.asarray(leaf) + 1, expected)
    with pytest.raises(InputError, match="was not trained for this pipeline's latents: their encoders differ"):
        FlaxPaintByExamplePipeline.from_pipeline(pipeline, params, (model, foreign))


def test_inpainting_needs_words(loaded):
    parts = "^a FlaxPaintByExamplePipeline has no text_encoder and no tokenizer, which inpainting needs: give a pipeline for"
    with pytest.raises(InputError, match=parts):
        FlaxAsymmetricInpaintPipeline.from_pipeline(*loaded)


def test_soft_edges_are_those_of_pytorch():
    mask = tiny.holes(2, HEIGHT, WIDTH)
    theirs = torch.nn.functional.interpolate(tiny.channels_first(mask), size=(HEIGHT // 8, WIDTH // 8), mode="bilinear")
    np.testing.assert_allclose(bilinear(jax.numpy.asarray(mask), 8)[..., 0], theirs[:, 0], atol=1e-6)

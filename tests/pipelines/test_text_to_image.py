"""Text to image against PyTorch's pipeline, and diffusers' own call."""

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import diffusers  # noqa: E402

from asym_jax.errors import InputError  # noqa: E402
from asym_jax.pipelines import FlaxAsymmetricInpaintPipeline, FlaxAsymmetricTextToImagePipeline  # noqa: E402
from asym_jax.pipelines.denoise import START, noise_for, picture_keys  # noqa: E402
from asym_jax.pipelines.schedule import Sampling  # noqa: E402
from tests.pipelines import tiny  # noqa: E402

HEIGHT, WIDTH = 48, 80
PLMS = Sampling("plms", 3, guidance=2.0)
PROMPTS = ["a b c", "d e"]


@pytest.fixture(autouse=True)
def lenient():
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.slow
def test_pictures_are_those_of_pytorch(tmp_path):
    folder = tiny.save(tmp_path, in_channels=4, kind="plms")
    pipeline, params = FlaxAsymmetricTextToImagePipeline.from_pretrained(folder, folder / "asymmetric")
    inputs = pipeline.prepare(PROMPTS, index=[5, 1])
    latents = pipeline.latents(params, inputs, height=HEIGHT, width=WIDTH, seed=2, sampling=PLMS)
    ours = pipeline.decode(params, latents)
    words = {"text_encoder": tiny.text_encoder(), "tokenizer": pipeline.tokenizer}
    theirs = diffusers.StableDiffusionPipeline(
        vae=tiny.asymmetric(),
        unet=tiny.unet(4),
        scheduler=tiny.scheduler("plms"),
        **words,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    theirs.set_progress_bar_config(disable=True)
    start = noise_for(picture_keys(2, inputs.index), START, (HEIGHT // 8, WIDTH // 8, 4))
    size = {"height": HEIGHT, "width": WIDTH, "num_inference_steps": PLMS.steps, "guidance_scale": PLMS.guidance}
    result = theirs(prompt=PROMPTS, latents=tiny.channels_first(start), output_type="np", **size).images
    np.testing.assert_allclose(np.clip(ours / 2 + 0.5, 0, 1), result, atol=1e-3)

    key = jax.random.PRNGKey(0)
    scheduler, pipeline.scheduler = pipeline.scheduler, diffusers.FlaxPNDMScheduler()
    with pytest.raises(InputError, match="skip_prk_steps=False cannot do 3 steps"):
        pipeline(inputs.prompt_ids, params, key, 3, HEIGHT, WIDTH)
    with pytest.raises(InputError, match="skip_prk_steps=False; DDIM and PLMS here need True"):
        pipeline.latents(params, inputs)
    pipeline.scheduler = scheduler
    first = np.asarray(start).transpose(0, 3, 1, 2)
    called = pipeline(inputs.prompt_ids, params, key, 2, HEIGHT, WIDTH, guidance_scale=2, latents=first)
    assert called.images.shape == (2, HEIGHT, WIDTH, 3) and called.nsfw_content_detected is False
    with pytest.raises(InputError, match="multiples of 16"):
        pipeline.latents(params, inputs, height=50, width=80)
    with pytest.raises(InputError, match="network of 4 input channels, and inpainting needs one of 9"):
        FlaxAsymmetricInpaintPipeline.from_pretrained(folder)

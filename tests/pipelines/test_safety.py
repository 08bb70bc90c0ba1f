"""The safety checker against PyTorch's, and pictures that it objects to."""

import numpy as np
import pytest
from transformers import CLIPConfig, CLIPImageProcessor

torch = pytest.importorskip("torch")

from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker  # noqa: E402

from asym_jax.pipelines.components import read_safety_checker  # noqa: E402
from asym_jax.pipelines.finishing import SharedSteps  # noqa: E402
from tests.pipelines import tiny  # noqa: E402


def test_same_answers_as_pytorch_and_black_pictures(tmp_path):
    tower = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(vision_config=tower | {"image_size": 32, "patch_size": 16}, text_config=tower, projection_dim=8)
    theirs = tiny.randomised(StableDiffusionSafetyChecker(config), 0)
    with torch.no_grad():
        theirs.concept_embeds.copy_(torch.randn(17, 8, generator=torch.Generator().manual_seed(0)))
        theirs.concept_embeds_weights.fill_(0.5)
        theirs.special_care_embeds_weights.fill_(2.0)
    pictures = 3 * np.random.default_rng(0).normal(size=(12, 3, 32, 32)).astype(np.float32)
    pictures += np.random.default_rng(1).normal(size=(12, 3, 1, 1)).astype(np.float32) * 5
    pooled = theirs.visual_projection(theirs.vision_model(torch.from_numpy(pictures))[1])
    with torch.no_grad():
        theirs.concept_embeds[:] = pooled[0] + 0.001 * torch.randn(17, 8, generator=torch.Generator().manual_seed(0))
        closeness = torch.nn.functional.cosine_similarity(pooled, pooled[:1])
        theirs.concept_embeds_weights.fill_(float(closeness.sort().values[6:8].mean()))
    _, expected = theirs(torch.from_numpy(pictures), [np.zeros((4, 4, 3))] * 12)
    assert 0 < sum(expected) < 12
    theirs.save_pretrained(tmp_path)
    ours, params = read_safety_checker(tmp_path, param_dtype=np.float32)
    np.testing.assert_array_equal(ours(pictures, params), expected)

    class Pipeline(SharedSteps):
        safety_checker = ours
        feature_extractor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})

    pipeline = Pipeline()
    pipeline.safety_checker = lambda seen, given: np.arange(len(seen)) == 1
    generated = pipeline.finish({"safety_checker": params}, tiny.pictures(2, 32, 48))
    assert generated.flagged.tolist() == [False, True]
    assert (generated.images[1] == -1).all() and (generated.images[0] != -1).any()

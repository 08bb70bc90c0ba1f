"""CLIP's vision tower against Hugging Face's PyTorch classes, on the same random weights."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.models.clip_vision import ClipVision
from asym_jax.weights.clip import from_torch, vision_tower

TINY = dict(hidden_size=128, intermediate_size=192, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8)
B32 = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, image_size=224, patch_size=32)
B32_PROJECTION = 512


def torch_tower(sizes, projection):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.CLIPVisionConfig(**sizes, projection_dim=projection, hidden_act="quick_gelu", layer_norm_eps=1e-5)
    model = transformers.CLIPVisionModelWithProjection(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # biases and scales are drawn as 0 and 1
            if parameter.ndim == 1 and "class" not in name:
                parameter += 0.2 * torch.randn(parameter.shape)
    return torch, model


@pytest.mark.parametrize(
    ("sizes", "projection"), [(TINY, 24), pytest.param(B32, B32_PROJECTION, marks=pytest.mark.slow)], ids=["tiny", "ViT-B/32"]
)
def test_agrees_with_torch(sizes, projection):
    torch, reference = torch_tower(sizes, projection)
    side = sizes["image_size"]
    images = np.random.default_rng(0).normal(size=(2, side, side, 3)).astype(np.float32)
    with torch.no_grad():
        channels_first = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        wanted = reference.vision_model(channels_first).pooler_output, reference(channels_first).image_embeds
    tensors = {name: tensor.numpy() for name, tensor in reference.state_dict().items()}
    model, kept = vision_tower(tensors, source="a test", heads=sizes["num_attention_heads"])
    assert model == ClipVision(
        sizes["num_hidden_layers"],
        sizes["hidden_size"],
        sizes["num_attention_heads"],
        sizes["patch_size"],
        side,
        projection,
        sizes["intermediate_size"],
    )
    got = jax.jit(model.apply)({"params": from_torch(kept, model, source="a test")}, jnp.asarray(images))
    for mine, theirs in zip(got, wanted, strict=True):
        distance = np.linalg.norm(mine - theirs.numpy()) / np.linalg.norm(theirs.numpy())
        print(sizes["hidden_size"], distance)
        assert distance < 1e-5


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        (ClipVision(), 87_849_216),  # ViT-B/32: 151,277,313 with the text half, whose part is 63,428,097
        (ClipVision(24, 1024, 16, 14, 224, 768), 303_966_208),
        (ClipVision(24, 1024, 16, 14, 224, None), 303_179_776),
    ],
    ids=["B/32", "L/14", "L/14 of Paint-by-Example"],
)
def test_published_sizes(model, parameters):
    features, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((1, 224, 224, 3)))
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"])) == parameters
    assert features.pooled.shape == (1, model.width)
    assert (features.projected.shape if features.projected is not None else None) == (model.projection and (1, model.projection))


def test_products_keep_all_bits():
    model = ClipVision(layers=1, width=32, heads=2, patch=8, image_size=24, projection=16)
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 24, 24, 3)))
    program = jax.jit(model.apply).lower(params, jnp.zeros((1, 24, 24, 3))).as_text()
    products = program.count("stablehlo.convolution") + program.count("stablehlo.dot_general")
    exact = program.count("precision HIGHEST>, #stablehlo<precision HIGHEST>") + program.count("[HIGHEST, HIGHEST]")
    assert products == exact == 1 + 4 + 2 + 2 + 1  # patches, attention's layers, its two products, the two of mlp, projection


def test_another_size_of_picture_is_refused():
    model = ClipVision(layers=1, width=32, heads=2, patch=8, image_size=24, projection=16)
    with pytest.raises(ValueError, match="pictures of 24 pixels a side"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 24, 3)))

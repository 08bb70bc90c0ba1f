import json
import logging

import jax.numpy as jnp
import pytest
from flax.traverse_util import flatten_dict

from asym_jax.errors import InputError
from asym_jax.models.autoencoder import AsymmetricAutoencoderKL, AutoencoderKL
from asym_jax.models.vq import AsymmetricVQModel, VQModel
from asym_jax.weights.architecture import abstract_params, config_of, read_config
from asym_jax.weights.names import torch_name

FOUR_DOWN = ["DownEncoderBlock2D"] * 4
FOUR_UP = ["UpDecoderBlock2D"] * 4

# config.json of cross-attention/asymmetric-autoencoder-kl-x-1-5
PUBLISHED = {
    "_class_name": "AsymmetricAutoencoderKL",
    "_diffusers_version": "0.19.0.dev0",
    "act_fn": "silu",
    "down_block_out_channels": [128, 256, 512, 512],
    "down_block_types": FOUR_DOWN,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_down_block": 2,
    "layers_per_up_block": 3,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 256,
    "scaling_factor": 0.18215,
    "up_block_out_channels": [192, 384, 768, 768],
    "up_block_types": FOUR_UP,
}
STABLE_DIFFUSION = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": FOUR_DOWN,
    "up_block_types": FOUR_UP,
    "layers_per_block": 2,
    "sample_size": [512, 512],
}
# LDM's vq-f16, as PyTorch diffusers writes it.
VQ_F16 = {
    "_class_name": "VQModel",
    "_diffusers_version": "0.39.0",
    "act_fn": "silu",
    "block_out_channels": [128, 128, 256, 256, 512],
    "down_block_types": FOUR_DOWN + ["AttnDownEncoderBlock2D"],
    "force_upcast": False,
    "in_channels": 3,
    "latent_channels": 8,
    "layers_per_block": 2,
    "lookup_from_codebook": False,
    "mid_block_add_attention": True,
    "norm_num_groups": 32,
    "norm_type": "group",
    "num_vq_embeddings": 16384,
    "out_channels": 3,
    "sample_size": 256,
    "scaling_factor": 0.18215,
    "up_block_types": ["AttnUpDecoderBlock2D"] + FOUR_UP,
    "vq_embed_dim": None,
}
LAST_OF_FIVE = (False, False, False, False, True)


def read(tmp_path, config, dtype=jnp.float32):
    (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return read_config(tmp_path / "config.json", dtype=dtype)


def test_published_configs(tmp_path):
    large = AsymmetricAutoencoderKL((128, 256, 512, 512), 2, (192, 384, 768, 768), 3, 4, 32, 0.18215, 256, dtype=jnp.bfloat16)
    assert read(tmp_path, PUBLISHED, jnp.bfloat16) == large
    # As diffusers writes it again: with keys that its own class does not take.
    assert read(tmp_path, PUBLISHED | {"block_out_channels": [192, 384, 768, 768], "force_upcast": False}, jnp.bfloat16) == large
    assert read(tmp_path, STABLE_DIFFUSION) == AutoencoderKL((128, 256, 512, 512), 2, 4, 32, 0.18215, 512)


def test_codebooks_and_attention_inside_levels(tmp_path):
    vq_f16 = VQModel(
        (128, 128, 256, 256, 512),
        latent_channels=8,
        num_vq_embeddings=16384,
        down_attention=LAST_OF_FIVE,
        up_attention=LAST_OF_FIVE,
    )
    assert read(tmp_path, VQ_F16) == vq_f16
    mixed = {"down_block_types": ["AttnDownEncoderBlock2D", *FOUR_DOWN[1:]], "up_block_types": FOUR_UP}
    assert read(tmp_path, STABLE_DIFFUSION | mixed) == AutoencoderKL(down_attention=(True, False, False, False))
    # aMUSEd's: no attention anywhere, and indices in the place of latents.
    indices = {"mid_block_add_attention": False, "lookup_from_codebook": True, "vq_embed_dim": 64, "latent_channels": 64}
    plain = {"down_block_types": FOUR_DOWN + FOUR_DOWN[:1], "up_block_types": FOUR_UP + FOUR_UP[:1]}
    expected = vq_f16.copy(down_attention=(), up_attention=(), **indices)
    assert read(tmp_path, VQ_F16 | indices | plain) == expected


def test_names_of_flax_are_read(tmp_path):
    assert read(tmp_path, STABLE_DIFFUSION | {"_class_name": "FlaxAutoencoderKL"}) == AutoencoderKL()
    flax = read(tmp_path, PUBLISHED | {"_class_name": "FlaxAsymmetricAutoencoderKL"})
    assert flax == AsymmetricAutoencoderKL(sample_size=256)
    assert config_of(flax)["_class_name"] == "AsymmetricAutoencoderKL"


@pytest.mark.parametrize(
    "model",
    [
        AutoencoderKL((32, 64), mid_block_add_attention=False, up_attention=(True, False)),
        AsymmetricAutoencoderKL((32, 64), 1, (64, 96), 2, blend="concatenate", down_attention=(False, True)),
        VQModel((32, 64), num_vq_embeddings=5, vq_embed_dim=7, lookup_from_codebook=True),
        AsymmetricVQModel((32, 64), 1, (64, 96), 2, num_vq_embeddings=5, mid_block_add_attention=False, up_attention=(False, True)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_what_is_written_is_read(tmp_path, model):
    assert read(tmp_path, config_of(model)) == model


@pytest.fixture
def said_by_diffusers():
    """Warnings that PyTorch diffusers logs while the test runs, such as of keys that it does not know."""
    records: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: records.append(record.getMessage())
    logging.getLogger("diffusers").addHandler(handler)
    yield records
    logging.getLogger("diffusers").removeHandler(handler)


def test_written_configs_build_the_same_model_in_pytorch(pytorch, tmp_path, said_by_diffusers):
    """Attention inside levels and codebooks: by the names and shapes of their parameters."""
    import diffusers.models

    settings = {"norm_num_groups": 2, "down_attention": (False, True), "up_attention": (True, False)}
    for ours in (
        AutoencoderKL((4, 8), 1, mid_block_add_attention=False, **settings),
        AsymmetricAutoencoderKL((4, 8), 1, (8, 8), 2, **settings),
        VQModel((4, 8), 1, num_vq_embeddings=11, vq_embed_dim=5, **settings),
    ):
        theirs = getattr(diffusers.models, type(ours).__name__).from_config(config_of(ours))
        shapes = {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items() if "condition_encoder" not in name}
        leaves = flatten_dict(abstract_params(ours))
        found = {
            torch_name(keys): torch_shape(keys, leaf.shape) for keys, leaf in leaves.items() if "condition_encoder" not in keys
        }
        assert found == shapes
    assert said_by_diffusers == []


def torch_shape(keys: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Ours with the channels first, but rows of codebooks as they are."""
    if keys[-1] == "embedding":
        return shape
    return shape[-1:] + shape[-2:-1] + shape[:-2]


def test_absent_keys_have_the_defaults_of_diffusers(pytorch, tmp_path):
    import diffusers.models

    for ours in (AutoencoderKL, AsymmetricAutoencoderKL, VQModel):
        defaults = getattr(diffusers.models, ours.__name__)().config
        model = read(tmp_path, {"_class_name": ours.__name__})
        for name in set(ours.__dataclass_fields__) & set(defaults):
            assert getattr(model, name) == defaults[name], name


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "not readable as JSON"),
        ([1], "_class_name None"),
        ({"_class_name": "UNet2DConditionModel"}, "UNet2DConditionModel.*AutoencoderKL, AsymmetricAutoencoderKL"),
        (STABLE_DIFFUSION | {"use_quant_conv": False}, "use_quant_conv is False"),
        (STABLE_DIFFUSION | {"shift_factor": 0.1, "act_fn": "relu"}, "act_fn is 'relu'.*shift_factor is 0.1"),
        (STABLE_DIFFUSION | {"block_out_channels": [128, 256]}, "same number of levels"),
        (STABLE_DIFFUSION | {"down_block_types": ["AttnDownBlock2D"] * 4}, "down_block_types.0 is 'AttnDownBlock2D'"),
        (VQ_F16 | {"norm_type": "spatial"}, "norm_type is 'spatial'"),
        (VQ_F16 | {"num_vq_embeddings": 0}, "num_vq_embeddings is 0"),
        (VQ_F16 | {"up_block_types": FOUR_UP}, "same number of levels"),
        (PUBLISHED | {"up_block_out_channels": [192, 384, 768, 100]}, "100.*norm_num_groups=32"),
        (PUBLISHED | {"blend": "multiply"}, "blend is 'multiply'"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(tmp_path, config, message):
    with pytest.raises(InputError, match=rf"config\.json.*{message}") as error:
        read(tmp_path, config)
    assert "\n" not in str(error.value)

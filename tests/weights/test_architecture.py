import json

import jax.numpy as jnp
import pytest

from asym_jax.errors import InputError
from asym_jax.models.autoencoder import AsymmetricAutoencoderKL, AutoencoderKL
from asym_jax.weights.architecture import read_config

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


def read(tmp_path, config, dtype=jnp.float32):
    (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return read_config(tmp_path / "config.json", dtype=dtype)


def test_published_configs(tmp_path):
    large = AsymmetricAutoencoderKL((128, 256, 512, 512), 2, (192, 384, 768, 768), 3, 4, 32, 0.18215, 256, dtype=jnp.bfloat16)
    assert read(tmp_path, PUBLISHED, jnp.bfloat16) == large
    # As diffusers writes it again: with keys that its own class does not take.
    assert read(tmp_path, PUBLISHED | {"block_out_channels": [192, 384, 768, 768], "force_upcast": False}, jnp.bfloat16) == large
    assert read(tmp_path, STABLE_DIFFUSION) == AutoencoderKL((128, 256, 512, 512), 2, 4, 32, 0.18215, 512)


def test_absent_keys_have_the_defaults_of_diffusers(pytorch, tmp_path):
    for ours in (AutoencoderKL, AsymmetricAutoencoderKL):
        defaults = getattr(pytorch, ours.__name__)().config
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
        (STABLE_DIFFUSION | {"down_block_types": ["AttnDownEncoderBlock2D"] * 4}, "down_block_types.0 is 'AttnDownEncoderBlock2D'"),
        (PUBLISHED | {"up_block_out_channels": [192, 384, 768, 100]}, "100.*norm_num_groups=32"),
        (PUBLISHED | {"blend": "multiply"}, "blend is 'multiply'"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(tmp_path, config, message):
    with pytest.raises(InputError, match=rf"config\.json.*{message}") as error:
        read(tmp_path, config)
    assert "\n" not in str(error.value)

import numpy as np
import pytest

from asym_jax.errors import InputError
from asym_jax.models.autoencoder import AsymmetricAutoencoderKL
from asym_jax.weights.architecture import abstract_params
from asym_jax.weights.convert import check
from asym_jax.weights.names import to_torch, torch_name
from asym_jax.weights.naming import canonical
from tests.weights.official_names import OFFICIAL_NAMES, officially
from tests.weights.trees import drawn

SMALL = AsymmetricAutoencoderKL((4, 8, 8), 2, (4, 8, 12), 1, norm_num_groups=2)


@pytest.fixture(scope="module")
def tensors():
    return to_torch(drawn(SMALL))


def old_names(tensors):
    """As diffusers wrote them in 2022."""
    renamed = {}
    for name, tensor in tensors.items():
        for new_name, old_name in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
            name = name.replace(f".{new_name}.", f".{old_name}.")
        renamed[name] = tensor
    assert "encoder.mid_block.attentions.0.proj_attn.bias" in renamed
    return renamed


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(np.asarray(found[name]), tensor, err_msg=name)


def test_names_of_today_and_of_2022_are_recognised(tensors):
    for given in (tensors, old_names(tensors)):
        result = canonical(given, source="a file")
        assert result.naming == "diffusers" and result.dropped == {}
        assert_same(result.tensors, tensors)


def test_what_is_never_computed_with_is_dropped_and_counted(tensors):
    surplus = {
        "decoder.up_layers.0.weight": 2,
        "decoder.condition_encoder.up_layers.1.bias": 1,
        "loss.discriminator.main.0.weight": 1,
        "loss.perceptual_loss.net.slice1.0.weight": 1,
        "loss.logvar": 1,
        "model_ema.decay": 1,
    }
    result = canonical(tensors | {name: np.zeros(3, np.float32) for name in surplus}, source="a file")
    assert_same(result.tensors, tensors)
    assert result.dropped == {
        "decoder.up_layers.": 1,
        "decoder.condition_encoder.up_layers.": 1,
        "loss.": 3,
        "model_ema.": 1,
    }


def test_a_tensor_under_both_names_is_refused(tensors):
    name = "decoder.mid_block.attentions.0.{}.bias"
    with pytest.raises(InputError, match=r"a\.bin holds decoder\.mid_block\.attentions\.0\.to_k\.bias twice"):
        canonical(tensors | {name.format("key"): tensors[name.format("to_k")]}, source="a.bin")


def test_official_names_by_an_independent_table(tensors, tmp_path):
    stored = officially(tensors, levels=3)
    assert {"decoder.up.2.block.0.conv1.weight", "decoder.encoder.layers.0.bias"} <= stored.keys()
    assert stored["encoder.mid.attn_1.q.weight"].shape == (8, 8, 1, 1)
    saved = save_and_map(stored, tmp_path)
    result = canonical(saved, source="a file")
    assert result.naming == "official"
    assert_same(result.tensors, tensors)
    check(result.tensors, abstract_params(SMALL), torch_name, source="a file")


def test_the_first_stage_of_a_whole_diffusion_model(tensors, tmp_path):
    stage = {f"first_stage_model.{name}": tensor for name, tensor in officially(tensors, levels=3).items()}
    rest = {"model.diffusion_model.input_blocks.0.0.weight": 0, "cond_stage_model.a": 0, "alphas_cumprod": 0, "model_ema.x": 0}
    whole = stage | {name: np.zeros(1, np.float32) for name in rest} | {"first_stage_model.loss.logvar": np.zeros(1, np.float32)}
    result = canonical(save_and_map(whole, tmp_path), source="a file")
    assert_same(result.tensors, tensors)
    assert result.dropped == {"model.": 1, "cond_stage_model.": 1, "alphas_cumprod.": 1, "model_ema.": 1, "loss.": 1}


def test_the_independent_table_covers_every_tensor(tensors):
    assert len(officially(tensors, levels=3)) == len(tensors)
    assert len(OFFICIAL_NAMES) > 15


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["features.0.weight"], "does not hold an autoencoder.*such as features.0.weight"),
        ([], "such as none"),
        (
            ["encoder.down.0.block.0.conv1.weight", "decoder.up.0.block.0.conv1.weight", "decoder.a.b"],
            "decoder.a.b is no parameter",
        ),
        (["encoder/conv_in/kernel", "decoder/conv_in/kernel", "decoder/conv_in/momentum"], "momentum is no parameter.*kernel"),
    ],
)
def test_strangers_are_named(names, said):
    with pytest.raises(InputError, match=f"a file.*{said}"):
        canonical({name: np.zeros((1, 1, 1, 1), np.float32) for name in names}, source="a file")


def save_and_map(tensors, folder):
    """Tensors that are still in a file, as readers give them."""
    from asym_jax.weights.files.safetensors_file import read_safetensors, write_safetensors

    write_safetensors(folder / "a.safetensors", tensors)
    return read_safetensors(folder / "a.safetensors").tensors

import jax
import numpy as np
import pytest

from asym_jax.errors import InputError
from asym_jax.models.autoencoder import AsymmetricAutoencoderKL
from asym_jax.weights.architecture import abstract_params
from asym_jax.weights.names import from_torch, to_torch, torch_name

SMALL = AsymmetricAutoencoderKL((4, 8), 1, (4, 12), 1, norm_num_groups=2, blend="concatenate")


@pytest.fixture(scope="module")
def expected():
    return abstract_params(SMALL)


@pytest.fixture(scope="module")
def params(expected):
    random = np.random.default_rng(0)
    return jax.tree.map(lambda a: random.normal(size=a.shape).astype(np.float32), expected)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("encoder/down_blocks_1/downsamplers_0/conv/bias", "encoder.down_blocks.1.downsamplers.0.conv.bias"),
        ("decoder/up_blocks_10/resnets_1/norm2/scale", "decoder.up_blocks.10.resnets.1.norm2.weight"),
        ("encoder/mid_block/attentions_0/query/kernel", "encoder.mid_block.attentions.0.to_q.weight"),
        ("encoder/mid_block/attentions_0/key/bias", "encoder.mid_block.attentions.0.to_k.bias"),
        ("encoder/mid_block/attentions_0/value/bias", "encoder.mid_block.attentions.0.to_v.bias"),
        ("decoder/mid_block/attentions_0/proj_attn/kernel", "decoder.mid_block.attentions.0.to_out.0.weight"),
        ("decoder/mid_block/attentions_0/group_norm/bias", "decoder.mid_block.attentions.0.group_norm.bias"),
        ("decoder/condition_encoder/layers_4/kernel", "decoder.condition_encoder.layers.4.weight"),
        ("post_quant_conv/kernel", "post_quant_conv.weight"),
        ("quantize/embedding/embedding", "quantize.embedding.weight"),
    ],
)
def test_names_are_those_of_diffusers(ours, theirs):
    assert torch_name(tuple(ours.split("/"))) == theirs


def test_kernels_are_transposed_into_pytorchs_order():
    convolution = np.arange(24.0, dtype=np.float32).reshape(1, 2, 3, 4)  # height, width, in, out
    linear = np.arange(6.0, dtype=np.float32).reshape(2, 3)  # in, out
    tensors = to_torch({"conv_in": {"kernel": convolution}, "query": {"kernel": linear}})
    assert tensors["conv_in.weight"].shape == (4, 3, 1, 2)
    assert tensors["conv_in.weight"][3, 1, 0, 1] == convolution[0, 1, 1, 3] == 19
    assert tensors["to_q.weight"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_codebooks_are_not_transposed():
    codebook = np.arange(6.0, dtype=np.float32).reshape(3, 2)  # entries, width: the same on both sides
    tensors = to_torch({"quantize": {"embedding": {"embedding": codebook}}})
    np.testing.assert_array_equal(tensors["quantize.embedding.weight"], codebook)


def test_there_and_back_changes_nothing(params, expected):
    back = from_torch(to_torch(params), expected)
    jax.tree.map(np.testing.assert_array_equal, back, params)


def test_all_differences_stand_in_one_message(params, expected):
    tensors = to_torch(params)
    del tensors["decoder.conv_out.bias"]
    tensors["surplus.weight"] = np.zeros((7, 5), np.float32)
    tensors["quant_conv.weight"] = np.zeros((8, 8), np.float32)
    tensors["quant_conv.bias"] = np.zeros(8, np.int32)
    with pytest.raises(InputError) as error:
        from_torch(tensors, expected, source="a.bin")
    lines = str(error.value).splitlines()
    assert "a.bin" in lines[0]
    assert set(lines[1:]) == {
        "  decoder.conv_out.bias (3,) is missing",
        "  surplus.weight (7, 5) is not expected",
        "  quant_conv.weight has shape (8, 8), expected (8, 8, 1, 1)",
        "  quant_conv.bias holds int32, expected floating-point numbers",
    }


def test_many_differences_are_counted(params, expected):
    tensors = {name: tensor for name, tensor in to_torch(params).items() if not name.startswith("encoder.")}
    absent = len(to_torch(params)) - len(tensors)
    with pytest.raises(InputError, match=f"and {absent - 8} more$"):
        from_torch(tensors, expected)

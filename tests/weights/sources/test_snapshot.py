"""Which files of a whole pipeline are needed."""

import pytest

from asym_jax.errors import InputError
from asym_jax.weights.sources.snapshot import needed, pipeline_folder


def test_one_file_of_weights_for_each_component():
    files = [
        *("model_index.json", "README.md", "v1-5-pruned.ckpt"),
        *("unet/config.json", "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.safetensors"),
        *("text_encoder/config.json", "text_encoder/pytorch_model.bin", "text_encoder/model.fp16.safetensors"),
        *("tokenizer/vocab.json", "tokenizer/merges.txt", "scheduler/scheduler_config.json"),
    ]
    assert set(needed(files)) == {
        *("model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "text_encoder/config.json"),
        *("text_encoder/pytorch_model.bin", "tokenizer/vocab.json", "tokenizer/merges.txt", "scheduler/scheduler_config.json"),
    }


def test_folders(tmp_path):
    assert pipeline_folder(tmp_path) == tmp_path
    with pytest.raises(InputError, match="there is no folder"):
        pipeline_folder(tmp_path / "nothing")

"""The published autoencoders, by their shapes: files of the right size that hold nothing but holes."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from asym_jax.models.autoencoder import AsymmetricAutoencoderKL, AutoencoderKL
from asym_jax.models.vq import VQModel
from asym_jax.weights.architecture import abstract_params
from asym_jax.weights.inspection import inspect
from asym_jax.weights.names import torch_name
from asym_jax.weights.opened import open_autoencoder
from tests.weights.official_names import officially

ROOT = Path(__file__).parents[2]

PUBLISHED = {
    "Stable Diffusion 1 and 2, ft-mse": (AutoencoderKL(), 83_653_863),
    "base": (AsymmetricAutoencoderKL(up_block_out_channels=(128, 256, 512, 512), layers_per_up_block=2), 94_439_911),
    "1.5x": (AsymmetricAutoencoderKL(up_block_out_channels=(192, 384, 768, 768), layers_per_up_block=3), 194_300_519),
    "2x": (AsymmetricAutoencoderKL(up_block_out_channels=(256, 512, 1024, 1024), layers_per_up_block=5), 406_130_151),
    "vq-f4": (VQModel((128, 256, 512), 2, num_vq_embeddings=8192), 55_322_782),
}
"""With their numbers of parameters, as published or as counted from the published configs."""


def shapes(model):
    """By PyTorch's names and in its layout; a view of one number stands for each tensor."""
    tensors = {}
    for path, leaf in jax.tree.leaves_with_path(abstract_params(model)):
        keys = tuple(key.key for key in path)
        order = {4: (3, 2, 0, 1), 2: (1, 0)}[len(leaf.shape)] if keys[-1] == "kernel" else range(len(leaf.shape))
        tensors[torch_name(keys)] = np.broadcast_to(np.float32(0), tuple(leaf.shape[axis] for axis in order))
    return tensors


def write_holes(path, tensors):
    """A safetensors file of which only the header takes space on the disk."""
    header, end = {}, 0
    for name, tensor in tensors.items():
        size = 4 * int(np.prod(tensor.shape))
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(path, 8 + len(text) + end)


@pytest.mark.parametrize("names", ["diffusers", "official"])
@pytest.mark.parametrize(("model", "parameters"), PUBLISHED.values(), ids=PUBLISHED)
def test_shapes_tell_the_architecture(model, parameters, names, tmp_path, monkeypatch):
    tensors = shapes(model)
    if names == "official":
        monkeypatch.setattr(np, "ascontiguousarray", lambda array: array)  # gigabytes otherwise
        levels = len(model.block_out_channels if hasattr(model, "block_out_channels") else model.up_block_out_channels)
        tensors = officially(tensors, levels)
    write_holes(tmp_path / "model.safetensors", tensors)
    opened = open_autoencoder(tmp_path / "model.safetensors")
    assert opened.naming == names
    assert opened.model.clone(sample_size=model.sample_size) == model
    text = inspect(str(tmp_path / "model.safetensors"))
    assert f"{parameters:,}  in all" in text
    assert "complete      yes" in text


@pytest.mark.slow
def test_loading_takes_little_more_memory_than_the_file(tmp_path):
    path = tmp_path / "model.safetensors"
    write_holes(path, shapes(PUBLISHED["2x"][0]))
    program = """
import sys, jax
from asym_jax.weights import load_pretrained
jax.block_until_ready(load_pretrained(sys.argv[1])[1])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    done = subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert path.stat().st_size > 1.6e9
    # All of the process is counted: Python, JAX, the parameters, and the pages of the file that are mapped.
    assert int(done.stdout) * 1024 < 1.3 * path.stat().st_size

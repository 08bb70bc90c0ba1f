"""Checkpoints as the reference implementation saves them, and diffusers' Flax folders."""

import sys
import types
import warnings
from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.errors import InputError
from asym_jax.models.autoencoder import AutoencoderKL
from asym_jax.weights import load_pretrained, save_pretrained
from asym_jax.weights.inspection import inspect
from asym_jax.weights.opened import open_autoencoder
from tests.weights.official_names import officially
from tests.weights.test_pretrained import assert_same_pictures
from tests.weights.trees import drawn


@pytest.fixture(scope="module")
def wide(pytorch):
    """An asymmetric autoencoder whose widths have 32 groups, so that shapes tell everything; each tensor is unlike the others."""
    torch = pytorch.torch
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = pytorch.AsymmetricAutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            down_block_out_channels=(32, 32, 64, 64),
            layers_per_down_block=2,
            up_block_types=("UpDecoderBlock2D",) * 4,
            up_block_out_channels=(32, 64, 96, 96),
            layers_per_up_block=1,
            norm_num_groups=32,
        )
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn(parameter.shape)
    return model.eval()


@pytest.fixture
def lightning(monkeypatch):
    """Classes that pickles of PyTorch Lightning mention, as far as pickling needs them."""
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks", "pytorch_lightning.callbacks.model_checkpoint"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    module = sys.modules["pytorch_lightning.callbacks.model_checkpoint"]
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": module.__name__})
    return module


def checkpoint(torch, tensors, lightning):
    """All that the reference's training leaves in a .ckpt beside the weights."""
    zeros = torch.zeros
    dead = {f"decoder.up_layers.{i}.deconv.{leaf}": zeros(2) for i in range(4) for leaf in ("weight", "bias")}
    loss = {
        "loss.logvar": zeros(()),
        "loss.perceptual_loss.net.slice1.0.weight": zeros(2, 3, 3, 3),
        "loss.discriminator.main.3.num_batches_tracked": torch.tensor(7),
    }
    state = OrderedDict(tensors | dead | loss)
    state._metadata = OrderedDict({"": {"version": 1}})
    parameter = next(iter(tensors.values()))
    adam = {"step": 5, "exp_avg": zeros(parameter.shape), "exp_avg_sq": zeros(parameter.shape)}
    return {
        "epoch": 11,
        "global_step": 172_824,
        "pytorch-lightning_version": "1.4.2",
        "state_dict": state,
        "callbacks": {lightning.ModelCheckpoint: {"monitor": None, "best_model_score": None, "dirpath": "/data"}},
        "optimizer_states": [{"state": {0: adam}, "param_groups": [{"lr": 3.6e-4, "betas": (0.5, 0.9), "params": [0]}]}],
        "lr_schedulers": [{"base_lrs": [1.0], "last_epoch": 11, "lr_lambdas": [None]}],
    }


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_an_official_checkpoint_matches_pytorch(pytorch, wide, lightning, pictures, is_zip, tmp_path):
    torch = pytorch.torch
    arrays = {name: tensor.numpy() for name, tensor in wide.state_dict().items()}
    tensors = {name: torch.from_numpy(array) for name, array in officially(arrays, levels=4).items()}
    path = tmp_path / "larger.ckpt"
    torch.save(checkpoint(torch, tensors, lightning), path, _use_new_zipfile_serialization=is_zip)

    opened = open_autoencoder(path)
    assert opened.naming == "official" and opened.described_by == "shapes of the tensors"
    assert opened.dropped == {"decoder.up_layers.": 8, "loss.": 3}
    assert {"epoch", "global_step", "callbacks", "optimizer_states", "lr_schedulers"} <= set(opened.left_out)
    text = inspect(str(path))
    for said in ("8 tensors decoder.up_layers.*", "optimizer_states", "widths 32, 64, 96, 96", "complete      yes"):
        assert said in text

    model, params = load_pretrained(path)
    assert model.up_block_out_channels == (32, 64, 96, 96) and model.layers_per_up_block == 1
    assert_same_pictures(pytorch, wide, model, params, pictures)


def test_what_was_fine_tuned_leaves_under_official_names(pytorch, wide, tmp_path):
    from safetensors.numpy import load_file

    wide.save_pretrained(tmp_path / "theirs")
    model, params = load_pretrained(tmp_path / "theirs")
    save_pretrained(tmp_path / "ours.safetensors", model, params, layout="official")
    expected = officially({name: tensor.numpy() for name, tensor in wide.state_dict().items()}, levels=4)
    found = load_file(tmp_path / "ours.safetensors")
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_shapes_do_not_tell_unusual_groups(tmp_path):
    from asym_jax.weights.files.safetensors_file import write_safetensors

    model = AutoencoderKL((4, 8), 1, norm_num_groups=2)
    save_pretrained(tmp_path / "a", model, drawn(model))
    from safetensors.numpy import load_file

    write_safetensors(tmp_path / "b.safetensors", load_file(tmp_path / "a" / "diffusion_pytorch_model.safetensors"))
    with pytest.raises(InputError, match=r"b\.safetensors comes without config\.json.*\[4, 8\].*Put config\.json beside it"):
        load_pretrained(tmp_path / "b.safetensors")


def test_a_checkpoint_of_sdxl_says_its_scaling_factor(tmp_path):
    from asym_jax.weights.files.safetensors_file import write_safetensors
    from asym_jax.weights.names import to_torch

    model = AutoencoderKL((32, 64), 1)
    stage = {f"first_stage_model.{name}": array for name, array in officially(to_torch(drawn(model)), levels=2).items()}
    for beside, factor in (("conditioner.embedders.0.weight", 0.13025), ("cond_stage_model.weight", 0.18215)):
        write_safetensors(tmp_path / "whole.safetensors", stage | {beside: np.zeros(1, np.float32)})
        again, params = load_pretrained(tmp_path / "whole.safetensors")
        assert again == model.clone(scaling_factor=factor, sample_size=again.sample_size)
        jax.tree.map(np.testing.assert_array_equal, params, drawn(model))


def test_flax_classes_of_diffusers_read_our_flax_folders(pytorch, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they announce their end in version 0.40
        from diffusers.models import vae_flax
    FlaxAutoencoderKL = vae_flax.FlaxAutoencoderKL
    assert not hasattr(vae_flax, "FlaxAsymmetricAutoencoderKL")  # as docs/weights.md says
    model = AutoencoderKL((8, 16, 32, 32), 1, norm_num_groups=4)
    save_pretrained(tmp_path / "flax", model, drawn(model), layout="flax")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, params = FlaxAutoencoderKL.from_pretrained(tmp_path / "flax")
    jax.tree.map(np.testing.assert_array_equal, params, drawn(model))
    latents = jnp.asarray(np.random.default_rng(0).normal(size=(1, 2, 3, 4)), jnp.float32)
    expected = theirs.apply({"params": params}, latents.transpose(0, 3, 1, 2), method=theirs.decode).sample
    found = model.apply({"params": params}, latents, method="decode")
    np.testing.assert_allclose(np.moveaxis(np.asarray(expected), 1, -1), found, atol=1e-4)

    theirs.save_pretrained(tmp_path / "theirs", params)
    again, read = load_pretrained(tmp_path / "theirs")
    assert again.clone(sample_size=model.sample_size) == model
    jax.tree.map(np.testing.assert_array_equal, read, drawn(model))

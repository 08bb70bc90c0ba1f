"""Every form to every other: the same bits."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.errors import InputError
from asym_jax.models.autoencoder import AsymmetricAutoencoderKL, AutoencoderKL
from asym_jax.models.vq import AsymmetricVQModel, VQModel
from asym_jax.weights import load_pretrained, save_pretrained
from asym_jax.weights.conversion import convert
from asym_jax.weights.layouts import LAYOUTS
from tests.weights.trees import drawn

MODELS = {
    "plain": AutoencoderKL((4, 8), 1, norm_num_groups=2, scaling_factor=0.13025),
    "asymmetric": AsymmetricAutoencoderKL((4, 8, 8), 2, (4, 8, 12), 1, norm_num_groups=2, sample_size=64),
    "vq": VQModel((4, 8), 1, norm_num_groups=2, num_vq_embeddings=7, vq_embed_dim=5, down_attention=(False, True)),
    "asymmetric vq": AsymmetricVQModel((4, 8), 1, (4, 12), 1, norm_num_groups=2, num_vq_embeddings=7, blend="concatenate"),
}


def place(folder, layout, name):
    return folder / (f"{name}.safetensors" if layout == "official" else name)


def bits(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf).view(f"u{leaf.dtype.itemsize}"), tree)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_pair_of_forms_keeps_every_bit(model, dtype, tmp_path):
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), drawn(model))
    for first in LAYOUTS:
        save_pretrained(place(tmp_path, first, first), model, params, layout=first)
    for first, second in itertools.product(LAYOUTS, LAYOUTS):
        target = place(tmp_path, second, f"{first}-{second}")
        convert(str(place(tmp_path, first, first)), target, layout=second)
        again, read = load_pretrained(target, param_dtype=dtype)
        assert again == model
        assert {leaf.dtype.name for leaf in jax.tree.leaves(read)} == {dtype}
        jax.tree.map(np.testing.assert_array_equal, bits(read), bits(params))


@pytest.mark.parametrize("stored", ["zip", "legacy", "sharded", "checkpoint"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_files_of_torch_to_every_form(pytorch, stored, dtype, tmp_path):
    """torch reads what was written from what torch wrote."""
    torch = pytorch.torch
    model = MODELS["asymmetric"]
    save_pretrained(tmp_path / "a", model, drawn(model), dtype=dtype)
    from safetensors.torch import load_file

    tensors = load_file(tmp_path / "a" / "diffusion_pytorch_model.safetensors")
    folder = tmp_path / "b"
    folder.mkdir()
    (folder / "config.json").write_bytes((tmp_path / "a" / "config.json").read_bytes())
    if stored == "sharded":
        shard(torch, tensors, folder)
    else:
        content = {"state_dict": tensors, "epoch": 3} if stored == "checkpoint" else tensors
        torch.save(content, folder / "diffusion_pytorch_model.bin", _use_new_zipfile_serialization=stored != "legacy")
    for layout in LAYOUTS:
        target = place(tmp_path, layout, f"b-{layout}")
        convert(str(folder), target, layout=layout)
        convert(str(target), tmp_path / f"c-{layout}", layout="diffusers")
        back = load_file(tmp_path / f"c-{layout}" / "diffusion_pytorch_model.safetensors")
        assert back.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert back[name].dtype == tensor.dtype == getattr(torch, dtype)
            assert torch.equal(back[name], tensor), name


def shard(torch, tensors, folder):
    """As transformers and diffusers spread large models."""
    import json

    halves = [dict(itertools.islice(tensors.items(), 0, 40)), dict(itertools.islice(tensors.items(), 40, None))]
    where = {}
    for i, half in enumerate(halves, 1):
        name = f"diffusion_pytorch_model-{i:05d}-of-00002.bin"
        torch.save(half, folder / name)
        where |= dict.fromkeys(half, name)
    (folder / "diffusion_pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


def test_another_type_rounds_and_never_overflows(tmp_path):
    model, params = MODELS["plain"], drawn(MODELS["plain"])
    for dtype in ("float16", "bfloat16"):
        save_pretrained(tmp_path / dtype, model, params, dtype=dtype)
        _, read = load_pretrained(tmp_path / dtype)
        rounded = jax.tree.map(lambda leaf, dtype=dtype: np.asarray(jnp.asarray(leaf, dtype), np.float32), params)
        jax.tree.map(np.testing.assert_array_equal, read, rounded)
    large = jax.tree.map(lambda leaf: leaf * 1e5, params)  # float16 ends at 65504
    with pytest.raises(InputError, match="beyond the range of float16"):
        save_pretrained(tmp_path / "large", model, large, dtype="float16")
    assert not (tmp_path / "large").exists()
    with pytest.raises(InputError, match="saved as float32, bfloat16, float16, not int8"):
        save_pretrained(tmp_path / "large", model, params, dtype="int8")


def test_the_scaling_factor_can_be_given(tmp_path):
    save_pretrained(tmp_path / "a", MODELS["plain"], drawn(MODELS["plain"]))
    convert(str(tmp_path / "a"), tmp_path / "b", layout="flax", scaling_factor=0.5)
    assert load_pretrained(tmp_path / "b")[0].scaling_factor == 0.5
    assert f"converted from | {tmp_path / 'a'}" in (tmp_path / "b" / "README.md").read_text()

"""Files made exactly as the metric networks are published: names, layouts, containers, and what else lies in them."""

import hashlib
import importlib.util
import shutil
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

from asym_jax.errors import InputError
from asym_jax.weights import clip, inception, networks, required
from asym_jax.weights.files.safetensors_file import write_safetensors

INSTALLED = importlib.util.find_spec("lpips")
TINY = dict(hidden_size=128, intermediate_size=192, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder of weights whose files need not be the published ones."""
    monkeypatch.setenv("ASYM_JAX_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("ASYM_JAX_UNVERIFIED_WEIGHTS", "1")
    return tmp_path


def test_alexnet(pytorch, folder):
    torch = pytorch.torch
    from tests.models.torch_alexnet import torch_alexnet
    from tests.models.torch_vgg import tree_of

    if INSTALLED is None:
        pytest.skip("lpips, whose files are read here, is not installed")
    features = torch_alexnet()
    state = {f"features.{name}": tensor for name, tensor in features.state_dict().items()}
    assert [name for name in state if name.endswith("weight")] == [f"features.{i}.weight" for i in (0, 3, 6, 8, 10)]
    state["classifier.1.weight"] = torch.zeros(4, 4)
    torch.save(state, folder / "alexnet-owt-7be5be79.pth", _use_new_zipfile_serialization=False)
    assert "alex.pth" in networks.alex_problem()
    heads = Path(INSTALLED.origin).parent / "weights" / "v0.1" / "alex.pth"
    shutil.copy(heads, folder)
    assert hashlib.sha256(heads.read_bytes()).hexdigest() == networks.LPIPS_ALEX_HEADS.sha256
    assert networks.alex_problem() is None
    weights = networks.load_alex()
    assert not weights.verified
    jax.tree.map(np.testing.assert_array_equal, weights.alex, tree_of(features))
    published = torch.load(heads, map_location="cpu")
    for i, head in enumerate(weights.heads):
        np.testing.assert_array_equal(head, published[f"lin{i}.model.1.weight"].numpy()[0, :, 0, 0])
    shutil.copy(heads.with_name("vgg.pth"), folder / "alex.pth")
    with pytest.raises(InputError, match="alex.pth does not fit"):
        networks.load_alex()


def test_inception(pytorch, folder, monkeypatch):
    from tests.models import torch_inception as tools

    path = folder / "pt_inception-2015-12-05-6726825d.pth"
    for part in ("fid_weights/pt_inception-2015-12-05-6726825d.pth", "95,628,359", "fetch inception"):
        assert part in inception.inception_problem()
    state = tools.random_state()
    assert len(state) == 472  # as published
    counters = {"Conv2d_1a_3x3.bn.num_batches_tracked": tools.torch.tensor(0)}  # which some copies have
    tools.torch.save(state | counters | {"fc.bias": 1e6 * tools.torch.ones(1008)}, path)
    weights = inception.load_inception()
    jax.tree.map(np.testing.assert_array_equal, weights.params, tools.tree_of(state))
    assert not weights.verified

    monkeypatch.delenv("ASYM_JAX_UNVERIFIED_WEIGHTS")
    with pytest.raises(InputError, match="has SHA-256 .* 6726825d0af5"):
        inception.load_inception()
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(inception, "FILES", (inception.INCEPTION._replace(sha256=found),))
    assert inception.load_inception().verified
    assert required.sha256(inception.INCEPTION) == found

    # torchvision's network has 1000 classes and an auxiliary head.
    tools.torch.save(state | {"fc.weight": tools.torch.zeros(1000, 2048), "AuxLogits.fc.bias": tools.torch.zeros(1000)}, path)
    monkeypatch.setenv("ASYM_JAX_UNVERIFIED_WEIGHTS", "1")
    with pytest.raises(InputError, match=r"(?s)fc.weight has shape \(1000, 2048\).*AuxLogits.fc.bias.* is not expected"):
        inception.load_inception()


@pytest.fixture(scope="module")
def whole_clip(pytorch):
    """Both halves of a CLIP, as Hugging Face's class saves them."""
    transformers = pytest.importorskip("transformers")
    pytorch.torch.manual_seed(0)
    text = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=1, vocab_size=10)
    config = transformers.CLIPConfig(text_config=text, vision_config=TINY, projection_dim=24)
    return transformers.CLIPModel(config)


def test_clip_as_hugging_face_publishes_it(pytorch, whole_clip, folder, tmp_path):
    torch = pytorch.torch
    (folder / "clip-vit-b-32").mkdir()
    state = dict(whole_clip.state_dict())
    # The published file is of 2021, when the numbers of the positions were saved as well.
    state |= {
        "vision_model.embeddings.position_ids": torch.arange(17)[None],
        "text_model.embeddings.position_ids": torch.arange(77),
    }
    assert "fetch clip-vit-b-32" in clip.clip_problem()
    torch.save(state, folder / "clip-vit-b-32" / "pytorch_model.bin")
    model, params, verified = clip.load_clip()
    assert (model.layers, model.width, model.heads, model.patch, model.image_size) == (2, 128, 2, 8, 32)
    assert (model.projection, model.hidden, verified) == (24, 192, False)
    np.testing.assert_array_equal(params["visual_projection"]["kernel"], state["visual_projection.weight"].numpy().T)
    inside = params["vision_model"]["encoder"]["layers_1"]["self_attn"]["k_proj"]
    np.testing.assert_array_equal(inside["kernel"], state["vision_model.encoder.layers.1.self_attn.k_proj.weight"].numpy().T)

    arrays = {name: tensor.numpy() for name, tensor in whole_clip.state_dict().items()}
    write_safetensors(tmp_path / "model.safetensors", arrays)
    again, same = clip.read_clip_vision(tmp_path / "model.safetensors")
    assert again == model
    jax.tree.map(np.testing.assert_array_equal, same, params)


def test_a_tower_alone_and_one_with_a_layer_missing(whole_clip, tmp_path):
    arrays = {name: tensor.numpy() for name, tensor in whole_clip.vision_model.state_dict().items()}
    tower = {f"vision_model.{name}": array for name, array in arrays.items()}
    write_safetensors(tmp_path / "tower.safetensors", tower)
    model, params = clip.read_clip_vision(tmp_path / "tower.safetensors")
    assert model.projection is None and "visual_projection" not in params
    del tower["vision_model.encoder.layers.0.layer_norm1.bias"]
    write_safetensors(tmp_path / "tower.safetensors", tower)
    with pytest.raises(InputError, match="layers.0.layer_norm1.bias .* is missing"):
        clip.read_clip_vision(tmp_path / "tower.safetensors")


def test_openais_own_files_are_refused_with_advice(pytorch, tmp_path):
    torch = pytorch.torch
    path = tmp_path / "ViT-B-32.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), path)
    with pytest.raises(InputError, match="TorchScript program, which is never run here"):
        clip.read_clip_vision(path)
    torch.save({"visual.conv1.weight": torch.zeros(8, 3, 4, 4)}, path)
    with pytest.raises(InputError, match="OpenAI's names"):
        clip.read_clip_vision(path)
    torch.save({"decoder.weight": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="holds no vision tower of CLIP"):
        clip.read_clip_vision(path)

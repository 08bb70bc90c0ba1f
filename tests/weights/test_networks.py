import hashlib
import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from asym_jax.errors import InputError
from asym_jax.weights import networks

POSITIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
WIDTHS = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
# Not imported: the package lpips needs torchvision, its files do not.
INSTALLED = importlib.util.find_spec("lpips")
if INSTALLED is None:
    pytest.skip("lpips, whose files are read here, is not installed", allow_module_level=True)
PUBLISHED_HEADS = Path(INSTALLED.origin).parent / "weights" / "v0.1" / "vgg.pth"


@pytest.fixture(scope="module")
def vgg(pytorch):
    """What torchvision's file holds, with the convolutions' true shapes."""
    torch = pytorch.torch
    torch.manual_seed(0)
    tensors = {"classifier.0.weight": torch.zeros(2, 2), "classifier.6.bias": torch.zeros(2)}
    for position, narrow, wide in zip(POSITIONS, WIDTHS[:-1], WIDTHS[1:], strict=True):
        tensors[f"features.{position}.weight"] = torch.randn(wide, narrow, 3, 3)
        tensors[f"features.{position}.bias"] = torch.randn(wide)
    return tensors


@pytest.fixture(scope="module")
def both_files(pytorch, vgg, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    pytorch.torch.save(vgg, folder / "vgg16-397923af.pth", _use_new_zipfile_serialization=False)
    shutil.copy(PUBLISHED_HEADS, folder)
    return folder


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    monkeypatch.delenv("ASYM_JAX_UNVERIFIED_WEIGHTS", raising=False)
    monkeypatch.delenv("ASYM_JAX_WEIGHTS", raising=False)


def test_unverified_files_are_read_and_said_to_be_so(pytorch, vgg, both_files, monkeypatch):
    monkeypatch.setenv("ASYM_JAX_WEIGHTS", str(both_files))
    monkeypatch.setenv("ASYM_JAX_UNVERIFIED_WEIGHTS", "1")
    assert networks.lpips_problem() is None
    weights = networks.load_lpips()
    assert not weights.verified
    assert list(weights.vgg) == [f"conv{i}" for i in range(13)]
    for i, position in enumerate(POSITIONS):
        weight = vgg[f"features.{position}.weight"].permute(2, 3, 1, 0).numpy()
        np.testing.assert_array_equal(weights.vgg[f"conv{i}"]["kernel"], weight)
        np.testing.assert_array_equal(weights.vgg[f"conv{i}"]["bias"], vgg[f"features.{position}.bias"].numpy())
    heads = pytorch.torch.load(PUBLISHED_HEADS, map_location="cpu")  # saved on a GPU
    assert len(weights.heads) == 5
    for i, head in enumerate(weights.heads):
        np.testing.assert_array_equal(head, heads[f"lin{i}.model.1.weight"].numpy()[0, :, 0, 0])


def test_only_published_files_are_verified(both_files, monkeypatch):
    monkeypatch.setenv("ASYM_JAX_WEIGHTS", str(both_files))
    found = hashlib.sha256((both_files / "vgg16-397923af.pth").read_bytes()).hexdigest()
    with pytest.raises(InputError, match=rf"vgg16-397923af\.pth has SHA-256 {found}.*397923af8e79.*ASYM_JAX_UNVERIFIED_WEIGHTS=1"):
        networks.load_lpips()
    monkeypatch.setattr(networks, "LPIPS", (networks.VGG16._replace(sha256=found), networks.LPIPS_HEADS))
    assert networks.load_lpips().verified


def test_the_table_describes_the_published_heads():
    content = PUBLISHED_HEADS.read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (networks.LPIPS_HEADS.bytes, networks.LPIPS_HEADS.sha256)
    assert networks.VGG16.name == f"vgg16-{networks.VGG16.sha256[:8]}.pth"


def test_missing_files_are_described(tmp_path, monkeypatch):
    monkeypatch.setenv("ASYM_JAX_WEIGHTS", str(tmp_path))
    shutil.copy(PUBLISHED_HEADS, tmp_path)
    problem = networks.lpips_problem()
    for part in (str(tmp_path), "vgg16-397923af.pth", "https://download.pytorch.org/", "553,433,881", networks.VGG16.sha256):
        assert part in problem
    assert "`python -m asym_jax.weights fetch vgg16`" in problem
    assert networks.LPIPS_HEADS.sha256 not in problem  # that one is there
    with pytest.raises(InputError, match="vgg16-397923af.pth"):
        networks.load_lpips()
    (tmp_path / "vgg.pth").unlink()
    assert "`python -m asym_jax.weights fetch vgg16 lpips-vgg`" in networks.lpips_problem()


def test_another_network_is_refused(pytorch, both_files, tmp_path, monkeypatch):
    monkeypatch.setenv("ASYM_JAX_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("ASYM_JAX_UNVERIFIED_WEIGHTS", "1")
    shutil.copy(both_files / "vgg16-397923af.pth", tmp_path)
    shutil.copy(PUBLISHED_HEADS.with_name("alex.pth"), tmp_path / "vgg.pth")
    with pytest.raises(InputError, match=r"lin1\.model\.1\.weight has shape \(1, 192, 1, 1\), expected \(1, 128, 1, 1\)"):
        networks.load_lpips()


def test_the_default_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert networks.weights_folder() == Path("/home/someone/.cache/asym_jax")

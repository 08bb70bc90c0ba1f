"""What is on this machine; the hub and remote storage have files of their own."""

import huggingface_hub
import pytest

from asym_jax.errors import InputError
from asym_jax.weights.sources import locate
from asym_jax.weights.sources.file_names import WEIGHTS

CONFIG, SAFETENSORS, PICKLE = "config.json", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"


def folder_with(folder, *names):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.fixture(autouse=True)
def no_hub(monkeypatch, tmp_path):
    """Whoever asks it fails with another message."""

    def ask(*_, **__):
        raise ConnectionError("the hub was asked")

    for name in ("model_info", "snapshot_download"):
        monkeypatch.setattr(huggingface_hub.HfApi, name, ask)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", ask)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("names", [[CONFIG], []], ids=["described", "bare"])
@pytest.mark.parametrize("weights", [*WEIGHTS, "larger.ckpt", "model.pt", "x.pth", "epoch=1.bin", "x.msgpack", "x.index.json"])
def test_a_folder_with_one_file(tmp_path, weights, names):
    folder = folder_with(tmp_path / "folder", *names, weights, "README.md", "optimizer.txt")
    (folder / "runs.bin").mkdir()
    expected = (folder / CONFIG if names else None, folder / weights)
    assert locate.locate(folder) == locate.locate(str(folder)) == locate.locate(tmp_path, subfolder="folder") == expected


def test_names_of_diffusers_come_first_and_safetensors_before_pickles(tmp_path):
    folder = folder_with(tmp_path / "folder", "a.ckpt", "b.safetensors", *WEIGHTS)
    for name in WEIGHTS:
        assert locate.locate(folder).weights == folder / name
        (folder / name).unlink()
    with pytest.raises(InputError, match=f"^{folder} holds several files with weights; give one of them: a.ckpt, b.safetensors$"):
        locate.locate(folder)
    assert locate.locate(folder / "a.ckpt") == (None, folder / "a.ckpt")


def test_a_file_has_the_config_beside_it_only_if_it_is_named_as_diffusers_does(tmp_path):
    folder = folder_with(tmp_path / "folder", CONFIG, *WEIGHTS, "other.safetensors", "last.ckpt")
    for name in WEIGHTS:
        assert locate.locate(folder / name) == (folder / CONFIG, folder / name)
    for name in ("other.safetensors", "last.ckpt"):
        assert locate.locate(str(folder / name)) == (None, folder / name)
    (folder / CONFIG).unlink()
    assert locate.locate(folder / SAFETENSORS) == (None, folder / SAFETENSORS)


def test_folders_without_weights(tmp_path):
    with pytest.raises(InputError, match=f"^{tmp_path} must hold {SAFETENSORS} or another file with weights, and holds nothing$"):
        locate.locate(tmp_path)
    folder_with(tmp_path / "vae", CONFIG, SAFETENSORS)
    (tmp_path / "model_index.json").touch()
    with pytest.raises(InputError, match=f"holds model_index.json, vae/; did you mean {tmp_path / 'vae'}"):
        locate.locate(tmp_path)
    folder_with(tmp_path / "many", *(f"{n}.ckpt" for n in range(1000)))
    with pytest.raises(InputError, match=r"0.ckpt, 1.ckpt.* \.\.\.$"):
        locate.locate(tmp_path / "many")


def test_what_is_not_there(tmp_path):
    folder = folder_with(tmp_path / "folder", CONFIG, SAFETENSORS)
    for source, more in [
        (folder / "x", {}),
        (folder, {"subfolder": "x"}),
        (folder / SAFETENSORS, {"subfolder": "x"}),
        (folder / PICKLE, {}),
    ]:
        with pytest.raises(InputError, match=r"^there is no file or folder .*(/x|\.bin)"):
            locate.locate(source, **more)
    with pytest.raises(InputError, match="cannot be looked at: File name too long"):
        locate.locate("x" * 5_000)
    with pytest.raises(InputError, match="there is no file or folder"):
        locate.locate("x\0y")


def test_revisions_are_for_the_hub(tmp_path):
    folder = folder_with(tmp_path / "folder", CONFIG, SAFETENSORS)
    for source in (folder, folder / SAFETENSORS, "asset", f"file://{folder}"):
        with pytest.raises(InputError, match="^revision='v2' is for the Hugging Face hub, and .* is not on it$"):
            locate.locate(source, revision="v2")


@pytest.mark.parametrize("source", ["./a/b", "/a/b", "name", "~nobody-here/a", "a/b/../c", "", "a b/c", "o/n@", "o//n"])
def test_paths_are_never_asked_from_the_hub(source):
    with pytest.raises(InputError) as refused:
        locate.locate(source)
    assert "hub" not in str(refused.value)


def test_an_existing_folder_wins_over_the_hub(tmp_path):
    folder = folder_with(tmp_path / "owner" / "name", CONFIG, PICKLE)
    assert locate.locate("owner/name").weights.resolve() == folder / PICKLE
    with pytest.raises(InputError, match="the hub was asked"):
        locate.locate("owner/other")


def test_home_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder_with(tmp_path / "folder", SAFETENSORS)
    assert locate.locate("~/folder").weights == tmp_path / "folder" / SAFETENSORS


def test_the_asset_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.setattr(locate, "ASSET_FOLDER", folder_with(tmp_path / "inside", CONFIG, SAFETENSORS))
    assert locate.locate("asset").weights == tmp_path / "inside" / SAFETENSORS
    folder_with(tmp_path / "asset", PICKLE)
    assert locate.locate("./asset").weights.name == PICKLE

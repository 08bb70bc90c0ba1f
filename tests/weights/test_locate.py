import shutil

import huggingface_hub
import pytest

from asym_jax.errors import InputError
from asym_jax.weights import locate

SAFETENSORS, PICKLE = "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"


def folder_with(folder, *names):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A pretended hub: the files below `tmp_path/hub`; every request is recorded."""
    requests = []

    def download(repo_id, filename, *, subfolder=None):
        requests.append((repo_id, subfolder, filename))
        path = tmp_path / "hub" / repo_id / (subfolder or "") / filename
        if not path.is_file():
            raise FileNotFoundError(f"404 for {filename}\nand a long story")
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.chdir(tmp_path)
    return requests


def test_a_hub_id_fetches_two_files(tmp_path, hub):
    folder = folder_with(tmp_path / "hub" / "owner" / "name.v1" / "vae", "config.json", SAFETENSORS, PICKLE)
    assert locate.locate("owner/name.v1/vae") == (folder / "config.json", folder / SAFETENSORS)
    assert hub == [("owner/name.v1", "vae", "config.json"), ("owner/name.v1", "vae", SAFETENSORS)]


def test_a_repository_with_only_a_pickle(tmp_path, hub):
    folder = folder_with(tmp_path / "hub" / "owner" / "name", "config.json", PICKLE)
    assert locate.locate("owner/name") == (folder / "config.json", folder / PICKLE)
    assert hub[0] == ("owner/name", None, "config.json")


def test_an_existing_folder_wins_over_the_hub(tmp_path, hub):
    folder_with(tmp_path / "hub" / "owner" / "name", "config.json", SAFETENSORS)
    folder_with(tmp_path / "owner" / "name", "config.json", PICKLE)
    found = locate.locate("owner/name")
    assert found.weights.resolve() == tmp_path / "owner" / "name" / PICKLE
    assert hub == []
    shutil.rmtree(tmp_path / "owner")
    assert locate.locate("owner/name").weights.name == SAFETENSORS


def test_what_the_hub_lacks_is_said_in_one_line(tmp_path, hub):
    folder_with(tmp_path / "hub" / "owner" / "name", "config.json")
    with pytest.raises(InputError) as error:
        locate.locate("owner/name")
    for part in ("owner/name", str(tmp_path), f"{SAFETENSORS}: FileNotFoundError: 404", f"{PICKLE}: FileNotFound", "folder"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_without_network(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.file_download, "HF_HUB_CACHE", str(tmp_path / "cache"), raising=False)
    with pytest.raises(InputError, match="owner/nothing-like-this.*vae/config.json: LocalEntryNotFoundError"):
        locate.locate("owner/nothing-like-this/vae")


@pytest.mark.parametrize("source", ["./a/b", "/a/b", "name", "~nobody-here/a", "a/b/../c"])
def test_paths_are_never_asked_from_the_hub(hub, source):
    with pytest.raises(InputError, match="there is no folder"):
        locate.locate(source)
    assert hub == []


def test_incomplete_folders_are_named(tmp_path):
    with pytest.raises(InputError, match=rf"{tmp_path} must hold config\.json and {SAFETENSORS} or {PICKLE}, and does not$"):
        locate.locate(tmp_path)
    folder_with(tmp_path / "vae", "config.json", SAFETENSORS)
    with pytest.raises(InputError, match=f"did you mean {tmp_path / 'vae'}"):
        locate.locate(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        locate.locate(tmp_path / "vae" / SAFETENSORS)


def test_the_asset_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.setattr(locate, "ASSET_FOLDER", folder_with(tmp_path / "inside", "config.json", SAFETENSORS))
    assert locate.locate("asset").weights == tmp_path / "inside" / SAFETENSORS

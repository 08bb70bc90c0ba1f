"""fsspec is real; the storage is memory, or a folder that is read as if it were far away."""

import json
import sys

import fsspec
import pytest

from asym_jax.errors import InputError
from asym_jax.weights.sources.locate import locate

CONFIG, SAFETENSORS = "config.json", "diffusion_pytorch_model.safetensors"
INDEX = json.dumps({"weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors"}}).encode()


@pytest.fixture(params=["memory", "file"])
def storage(request, tmp_path, monkeypatch):
    """Address and file system of an empty place, and a place for copies."""
    monkeypatch.setenv("ASYM_JAX_WEIGHTS", str(tmp_path / "weights"))
    files = fsspec.filesystem(request.param)
    folder = "/bucket" if request.param == "memory" else str(tmp_path / "bucket")
    yield f"{request.param}://{folder}", files, folder
    if request.param == "memory":
        files.store.clear()
        files.pseudo_dirs[:] = [""]


def put(storage, contents):
    _, files, folder = storage
    for name, content in contents.items():
        files.makedirs(f"{folder}/{name}".rpartition("/")[0], exist_ok=True)
        files.pipe_file(f"{folder}/{name}", content)


@pytest.fixture
def copied(storage, monkeypatch):
    """Names of the files that were copied."""
    names = []
    _, files, _ = storage
    get_file = type(files).get_file

    def recorded(self, path, target, *arguments, **more):
        names.append(path.rpartition("/")[2])
        return get_file(self, path, target, *arguments, **more)

    monkeypatch.setattr(type(files), "get_file", recorded)
    return names


def content(found):
    return found.config and found.config.read_bytes(), found.weights.read_bytes()


def refusal(*arguments, **more):
    with pytest.raises(InputError) as refused:
        locate(*arguments, **more)
    message = str(refused.value)
    assert "\n" not in message and len(message) < 500
    return message


def test_folders_subfolders_and_files(storage):
    url = storage[0]
    put(
        storage,
        {f"p/vae/{CONFIG}": b"config", f"p/vae/{SAFETENSORS}": b"weights", "p/vae/other.ckpt": b"other", "p/README.md": b""},
    )
    for found in (
        locate(f"{url}/p/vae"),
        locate(f"{url}/p/vae/"),
        locate(f"{url}/p", subfolder="vae"),
        locate(f"{url}/p/vae/{SAFETENSORS}"),
    ):
        assert content(found) == (b"config", b"weights")
    assert content(locate(f"{url}/p/vae/other.ckpt")) == (None, b"other")
    assert refusal(f"{url}/p").endswith(f"and holds README.md, vae/; did you mean {url}/p/vae?")


def test_every_part_of_a_large_file_is_copied(storage):
    put(storage, {f"{SAFETENSORS}.index.json": INDEX, "x-1.safetensors": b"1", "x-2.safetensors": b"2"})
    found = locate(storage[0])
    assert found.config is None and [(found.weights.parent / f"x-{n}.safetensors").read_bytes() for n in (1, 2)] == [b"1", b"2"]
    put(storage, {f"{SAFETENSORS}.index.json": INDEX.replace(b"x-2", b"../x-2")})
    assert "which is not a file with tensors beside it" in refusal(storage[0])


def test_a_copy_serves_until_the_original_changes(storage, copied):
    put(storage, {CONFIG: b"config", SAFETENSORS: b"weights"})
    first = locate(storage[0])
    assert sorted(copied) == [CONFIG, SAFETENSORS]
    assert locate(storage[0]) == first and len(copied) == 2
    put(storage, {SAFETENSORS: b"WEIGHTS"})
    assert content(locate(storage[0])) == (b"config", b"WEIGHTS") and copied[2:] == [SAFETENSORS]
    first.weights.unlink()
    assert content(locate(storage[0])) == (b"config", b"WEIGHTS")
    put(storage, {"other/" + SAFETENSORS: b"other"})
    assert content(locate(f"{storage[0]}/other"))[1] == b"other" and locate(storage[0]).weights.read_bytes() == b"WEIGHTS"


def test_storage_whose_own_fingerprint_is_the_address_only(storage, monkeypatch):
    """So it is for web pages in fsspec; size and time, where a server says them, still tell."""
    monkeypatch.setattr(type(storage[1]), "ukey", lambda self, path: path)
    put(storage, {SAFETENSORS: b"weights"})
    locate(storage[0])
    put(storage, {SAFETENSORS: b"more weights"})
    assert content(locate(storage[0])) == (None, b"more weights")


@pytest.mark.parametrize("broken", ["fails", "ends early"])
def test_half_a_copy_is_never_left(storage, tmp_path, monkeypatch, broken):
    put(storage, {SAFETENSORS: b"weights"})
    _, files, folder = storage
    found = locate(storage[0])

    def get_file(self, path, target, *_, **__):
        with open(target, "wb") as file:
            file.write(b"wei")
        if broken == "fails":
            raise OSError("line cut")

    put(storage, {SAFETENSORS: b"WEIGHTS"})
    monkeypatch.setattr(type(files), "get_file", get_file)
    for _ in range(2):
        message = refusal(storage[0])
        assert ("line cut" if broken == "fails" else "has 7 bytes, and 3 of them arrived") in message
        assert [path.name for path in found.weights.parent.iterdir()] == [SAFETENSORS]
    monkeypatch.undo()
    monkeypatch.setenv("ASYM_JAX_WEIGHTS", str(tmp_path / "weights"))
    assert content(locate(storage[0])) == (None, b"WEIGHTS")


def test_what_is_not_there(storage):
    url = storage[0]
    put(storage, {"p/README.md": b""})
    assert refusal(f"{url}/q").startswith(f"{url}/q could not be read (FileNotFoundError: ")
    assert refusal(f"{url}/p/x.safetensors").startswith(f"{url}/p/x.safetensors could not be read (FileNotFoundError: ")
    assert refusal(f"{url}/p").endswith("and holds README.md")


def test_storage_that_nobody_knows():
    assert refusal("nowhere://bucket/vae") == "nowhere://bucket/vae could not be read (ValueError: Protocol not known: nowhere)"


def test_a_missing_driver_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    message = refusal("gs://bucket/vae")
    assert message == "gs://bucket/vae could not be read (ImportError: Please install gcsfs to access Google Storage)"


def test_a_place_for_copies_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "weights").touch()
    (tmp_path / "x.ckpt").write_bytes(b"weights")
    monkeypatch.setenv("ASYM_JAX_WEIGHTS", str(tmp_path / "weights"))
    assert "Not a directory" in refusal(f"file://{tmp_path}/x.ckpt")

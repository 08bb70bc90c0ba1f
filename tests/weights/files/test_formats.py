"""Which reader gets a file, and what people have instead of weights."""

import gzip
import os

import numpy as np
import pytest
from flax.serialization import to_bytes
from safetensors.numpy import save, save_file

from asym_jax.weights.files.formats import read_tensors
from tests.weights.files.forged import whole_legacy, whole_zip
from tests.weights.files.refusal import assert_refused

ARRAYS = {"a": np.arange(6, dtype=np.float32)}

KINDS = {
    "safetensors": (save(ARRAYS), "safetensors"),
    "Flax": (to_bytes(ARRAYS), "Flax msgpack"),
    "Flax, many names": (to_bytes({str(number): ARRAYS for number in range(20)}), "Flax msgpack"),
    "PyTorch": (whole_zip(), "PyTorch"),
    "PyTorch before 1.6": (whole_legacy(), "PyTorch"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_known_by_their_content_and_not_by_their_name(kind, tmp_path):
    content, expected = KINDS[kind]
    (tmp_path / "weights.txt").write_bytes(content)
    found = read_tensors(tmp_path / "weights.txt")
    assert found.format.startswith(expected) and all(np.asarray(tensor).size for tensor in found.tensors.values())


NONE_OF_THEM = "is no safetensors, PyTorch or Flax msgpack file"
OTHERS = {
    "empty": (b"", "is empty"),
    "one byte": (b"{", NONE_OF_THEM),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "pointer of git-lfs"),
    "web page": (b"<!DOCTYPE html><html>Sign in", "web page"),
    "web page after a line": (b"\r\n  <html>Sign in", "web page"),
    "gzip": (gzip.compress(save(ARRAYS)), "compressed with gzip"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
    "zeros": (bytes(1_000), NONE_OF_THEM),
    "JSON": (b'{"error": "not found"}', NONE_OF_THEM),
    "text": ("no weights".encode("utf-16"), NONE_OF_THEM),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_people_have_instead(kind, tmp_path):
    content, reason = OTHERS[kind]
    (tmp_path / "x.ckpt").write_bytes(content)
    assert_refused(read_tensors, tmp_path / "x.ckpt", reason)


@pytest.mark.parametrize("name", ["x.bin", "x.safetensors.index.json"])
def test_what_is_no_file_at_all(name, tmp_path):
    path = tmp_path / name
    assert_refused(read_tensors, path, "is no file")
    path.mkdir()
    assert_refused(read_tensors, path, "is no file")
    path.rmdir()
    os.mkfifo(path)
    assert_refused(read_tensors, path, "is no file")
    path.unlink()
    path.symlink_to("/dev/zero")
    assert_refused(read_tensors, path, "is no file")
    path.unlink()
    path.symlink_to(path)
    assert_refused(read_tensors, path, "is no file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    save_file(ARRAYS, tmp_path / "x.safetensors")
    (tmp_path / "x.safetensors").chmod(0)
    assert_refused(read_tensors, tmp_path / "x.safetensors", "cannot be read: .*Permission denied")

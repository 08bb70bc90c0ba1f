from pathlib import Path

import pytest

from asym_jax.errors import InputError
from asym_jax.weights.folders import replacing


def write(folder, text):
    with replacing(folder, owned=["a.txt"]) as new:
        (new / "a.txt").write_text(text)


def test_a_failed_exchange_brings_the_old_folder_back(tmp_path, monkeypatch):
    write(tmp_path / "x", "old")
    rename = Path.rename

    def fail_for_new(path, target):
        if path.name == ".x.new":
            raise OSError("disk on fire")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_for_new)
    with pytest.raises(InputError, match="x cannot be written: disk on fire"):
        write(tmp_path / "x", "new")
    assert (tmp_path / "x" / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
    write(tmp_path / "x", "old")
    (tmp_path / "x").rename(tmp_path / ".x.previous")  # killed between the two renames
    (tmp_path / ".x.new").mkdir()
    (tmp_path / ".x.new" / "b.txt").touch()
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "x", owned=["a.txt"]):
        1 / 0  # noqa: B018
    assert (tmp_path / "x" / "a.txt").read_text() == "old"
    write(tmp_path / "x", "new")
    assert (tmp_path / "x" / "a.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_files_of_others_are_never_deleted(tmp_path):
    write(tmp_path / "x", "old")
    (tmp_path / "x" / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="thesis.tex was not written here"):
        write(tmp_path / "x", "new")
    assert (tmp_path / "x" / "thesis.tex").read_text() == "precious"
    with pytest.raises(InputError, match="thesis.tex"):
        write(tmp_path / "x" / "thesis.tex", "new")


def test_a_link_is_followed(tmp_path):
    write(tmp_path / "x", "old")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "x" / "a.txt").read_text() == "new"

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asym_jax.errors import InputError
from asym_jax.weights import folders
from asym_jax.weights.folders import on_this_machine, replacing, replacing_file

ROOT = Path(__file__).parents[2]
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere folders cannot change places")
PARTS = ("a.txt", "b.txt", "c.txt")


def write(folder, text):
    with replacing(folder, owned=["a.txt"]) as new:
        (new / "a.txt").write_text(text)


@pytest.fixture(params=["exchange", "two renames"])
def any_disk(request, monkeypatch):
    """Not every file system lets two folders change places."""
    if request.param == "two renames":
        monkeypatch.setattr(folders, "_exchange", lambda one, other: False)


def test_what_was_there_is_replaced(tmp_path, any_disk):
    for text in ("old", "new", "newest"):
        write(tmp_path / "deeper" / "x", text)
        assert (tmp_path / "deeper" / "x" / "a.txt").read_text() == text
        assert [path.name for path in (tmp_path / "deeper").iterdir()] == ["x"]
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty", "new")
    assert (tmp_path / "empty" / "a.txt").read_text() == "new"


@pytest.mark.parametrize("url", ["gs://bucket/x", "s3://bucket/x", "HTTPS://host/x", "file:///tmp/x"])
def test_urls_do_not_become_folders_here(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    for place in (url, Path(url)):  # which leaves one slash of several
        with pytest.raises(InputError, match="^[A-Za-z0-9]+://.* cannot be written to: .*, or mount the bucket as a folder$"):
            on_this_machine(place)
    with pytest.raises(InputError, match="cannot be written to"), replacing(Path(url), owned=[]):
        pass
    with pytest.raises(InputError, match="cannot be written to"), replacing_file(Path(url)):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["x", "/gs:/x", "C:/x", "a/gs://x", "noon 12:30"])
def test_paths_stay_paths(path):
    assert on_this_machine(path) == Path(path)


def test_a_block_that_fails_changes_nothing(tmp_path, any_disk):
    write(tmp_path / "x", "old")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "x", owned=["a.txt"]) as new:
        (new / "a.txt").write_text("half")
        1 / 0  # noqa: B018
    assert (tmp_path / "x" / "a.txt").read_text() == "old"
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "y", owned=["a.txt"]):
        1 / 0  # noqa: B018
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_failed_exchange_brings_the_old_folder_back(tmp_path, monkeypatch):
    write(tmp_path / "x", "old")
    rename = Path.rename

    def fail_for_new(path, target):
        if path.name == ".x.new":
            raise OSError("disk on fire")
        return rename(path, target)

    monkeypatch.setattr(folders, "_exchange", lambda one, other: False)
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


def test_a_link_is_followed(tmp_path, any_disk):
    write(tmp_path / "x", "old")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "x" / "a.txt").read_text() == "new"


def test_one_file_is_replaced_or_not(tmp_path):
    for text in ("old", "new"):
        with replacing_file(tmp_path / "deeper" / "x") as new:
            new.write_text(text)
        assert (tmp_path / "deeper" / "x").read_text() == text
    with pytest.raises(ZeroDivisionError), replacing_file(tmp_path / "deeper" / "x") as new:
        new.write_text("half")
        1 / 0  # noqa: B018
    assert (tmp_path / "deeper" / "x").read_text() == "new" and len(list((tmp_path / "deeper").iterdir())) == 1
    with pytest.raises(InputError, match="is a folder, and a file is to be written"), replacing_file(tmp_path / "deeper"):
        pass
    with (
        pytest.raises(InputError, match="x/y cannot be written: .*(Not a directory|File exists)"),
        replacing_file(tmp_path / "deeper" / "x" / "y"),
    ):
        pass


# It replaces a folder, or a file, for as long as it lives; each time with the next number everywhere.
# The module is run on its own, because starting takes most of the time.
WRITER = f"""
import pathlib, runpy, sys
folders = runpy.run_path("{ROOT}/asym_jax/weights/folders.py")
path, kind, number = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
while True:
    number += 1
    if kind == "folder":
        with folders["replacing"](path, owned={PARTS}) as new:
            for name in {PARTS}:
                (new / name).write_text(f"{{number:09}}" * 2_000)
    else:
        with folders["replacing_file"](path) as new:
            new.write_text(f"{{number:09}}" * 6_000)
"""


def read_folder(path):
    """The number in all files, read in one go from one folder; None if it was replaced meanwhile."""
    opened = os.open(path, os.O_RDONLY)
    try:
        texts = []
        for name in PARTS:
            try:
                with open(os.open(name, os.O_RDONLY, dir_fd=opened)) as file:
                    texts.append(file.read())
            except FileNotFoundError:
                texts.append("missing")
        names = os.listdir(opened)
        if os.stat(path).st_ino != os.fstat(opened).st_ino:
            return None
    finally:
        os.close(opened)
    assert sorted(names) == sorted(PARTS)
    return number_in("".join(texts))


def number_in(text):
    assert text == text[:9] * 6_000
    return int(text[:9])


@ON_LINUX
def test_two_folders_change_places(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert folders._exchange(tmp_path / "one", tmp_path / "other")
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["other"]
    assert not folders._exchange(tmp_path / "one", tmp_path / "nothing")


@ON_LINUX
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_writer_that_is_killed_at_any_moment(tmp_path, kind):
    path, number = tmp_path / "x", 0
    dice = random.Random(0)

    def read():
        return read_folder(path) if kind == "folder" else number_in(path.read_text())

    for _ in range(20):
        command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, '{ROOT}')\n{WRITER}", path, kind, str(number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            try:
                assert writer.stdout.readline() == b"ready\n"
                end = time.perf_counter() + dice.uniform(0, 0.04)
                while time.perf_counter() < end:
                    if path.exists():
                        found = read()
                        assert found is None or found >= number
                        for _ in range(500):  # from now on it is always there
                            os.stat(path)
            finally:
                writer.send_signal(signal.SIGKILL)
                writer.wait()
        if path.exists() or number:
            assert read() >= number
            number = read()
    assert number > 3  # or nothing was replaced meanwhile

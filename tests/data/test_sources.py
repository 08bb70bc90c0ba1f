import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from asym_jax.data import folder as folder_module
from asym_jax.data.folder import FolderSource
from asym_jax.data.pictures import read_picture
from asym_jax.data.sources import open_source, split
from asym_jax.data.synthetic import SyntheticSource
from asym_jax.errors import InputError


@pytest.fixture
def folder(tmp_path):
    """Pictures 0..5, each filled with its number; 1, 2 and 5 are broken."""
    for i in range(6):
        path = tmp_path / f"{i}.png"
        if i in (1, 2, 5):
            path.write_text("broken")
        else:
            Image.new("L", (4, 4), i).save(path)
    return tmp_path


def test_unreadable_files_are_replaced_by_the_next_and_reported_once(folder, caplog):
    source = open_source(f"folder:{folder}")
    with caplog.at_level(logging.WARNING):
        values = [int(source[i].mean()) for i in range(6)] + [int(source[i].mean()) for i in range(6)]
    assert values == [0, 3, 3, 3, 4, 0] * 2  # 5 wraps around to 0
    assert list(source.skipped) == [str(folder / f"{i}.png") for i in (1, 2, 5)]
    assert all("UnidentifiedImageError" in reason for reason in source.skipped.values())
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3


def test_a_file_that_vanished_after_listing_is_replaced(folder):
    source = open_source(f"folder:{folder}")
    (folder / "3.png").unlink()
    assert [int(source[i].mean()) for i in (3, 4)] == [4, 4]
    assert "No such file" in source.skipped[str(folder / "3.png")]


def test_a_tenth_broken_costs_a_tenth_and_no_more_than_twenty_lines(tmp_path, caplog):
    for i in range(250):
        path = tmp_path / f"{i:03}.png"
        if i % 10 == 7:
            path.write_bytes(b"\x89PNG, but not for long")
        else:
            Image.new("L", (2, 2), i).save(path)
    source = open_source(f"folder:{tmp_path}")
    with caplog.at_level(logging.WARNING):
        values = [int(source[i].mean()) for i in range(250)]
    assert values == [i + 1 if i % 10 == 7 else i for i in range(250)]
    assert len(source.skipped) == 25
    assert len(caplog.records) == 21 and "not named" in caplog.records[-1].message


def test_nothing_readable_is_an_input_error(folder):
    with pytest.raises(InputError, match="none of the 2 pictures can be read.*1.png"):
        FolderSource([folder / "1.png", folder / "2.png"])[1]


def test_held_out_pictures_never_stand_in_for_training_pictures(folder):
    training, held_out = split(open_source(f"folder:{folder}"), 3)
    assert [int(training[i].mean()) for i in range(3)] == [0, 0, 0]  # 3 would have been next
    assert [int(held_out[i].mean()) for i in range(3)] == [3, 4, 3]
    assert [held_out.name(i) for i in range(3)] == [str(folder / f"{i}.png") for i in (3, 4, 5)]
    assert (len(training.skipped), len(held_out.skipped)) == (2, 1)


def test_split_of_synthetic_pictures_takes_the_last():
    training, held_out = split(SyntheticSource(length=5, size=32), 2)
    assert (len(training), len(held_out)) == (3, 2)
    np.testing.assert_array_equal(held_out[1], SyntheticSource(length=5, size=32)[4])
    assert held_out.name(0).endswith("3") and repr(training) != repr(held_out)
    with pytest.raises(IndexError):
        training[3]


@pytest.mark.parametrize("held_out", [5, 6])
def test_split_must_leave_something_to_train_on(held_out):
    with pytest.raises(InputError, match="leaves none to train on"):
        split(SyntheticSource(length=5), held_out)


@pytest.mark.parametrize("spec", ["", "imagenet", "folder:", "folder", "synthetic:3", "array_record:", "mix:"])
def test_other_specifications_are_refused(spec):
    with pytest.raises(InputError, match="expected synthetic, folder:DIR"):
        open_source(spec)


def test_home_folder_is_expanded(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert len(open_source(f"folder:~/{folder.name}")) == 6
    with pytest.raises(InputError, match="nobody_of_this_name"):
        open_source("folder:~nobody_of_this_name/pictures")


def test_repr_identifies_the_files(folder):
    first, again = (open_source(f"folder:{folder}") for _ in range(2))
    assert repr(first) == repr(again)
    (folder / "6.png").touch()
    assert repr(open_source(f"folder:{folder}")) != repr(first)


def test_racing_threads_report_a_file_once_and_never_read_it_again(folder, caplog, monkeypatch):
    everyone, reads = threading.Barrier(4), []

    def read_together(path):
        reads.append(path.name)
        if path.name == "5.png":
            everyone.wait(timeout=10)  # until all four have begun
        return read_picture(path)

    monkeypatch.setattr(folder_module, "read_picture", read_together)
    source = FolderSource([folder / "5.png", folder / "0.png"])
    with ThreadPoolExecutor(4) as pool, caplog.at_level(logging.WARNING):
        list(pool.map(source.__getitem__, [0] * 4))
    assert source[0].max() == 0 and reads.count("5.png") == 4
    assert len(caplog.records) == 1

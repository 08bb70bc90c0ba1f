"""The folder of an evaluation: what a killed one leaves behind, and what another one may not overwrite."""

import json

import numpy as np
import pytest

from asym_jax.errors import InputError
from asym_jax.evaluation.workbook import JOURNAL, Workbook

SETTINGS = {"task": "reconstruct", "size": (16, 16)}
PICTURE = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)


def test_pictures_come_back_as_they_were_saved(tmp_path):
    book = Workbook(tmp_path / "out", SETTINGS)
    book.save("a/b decoder", "folder/picture", PICTURE)
    book.save("mask", "folder/picture", PICTURE[..., 0])
    np.testing.assert_array_equal(book.read("a/b decoder", "folder/picture"), PICTURE)
    np.testing.assert_array_equal(book.read("mask", "folder/picture"), PICTURE[..., :1])
    assert (tmp_path / "out" / "pictures" / "a_b decoder" / "folder" / "picture.png").is_file()
    with pytest.raises(InputError, match=r"pictures/mask/other.png, a picture of this evaluation, cannot be read .*--fresh"):
        book.read("mask", "other")


def test_the_journal_goes_on_and_forgets_a_line_that_was_cut_off(tmp_path):
    Workbook(tmp_path, SETTINGS).note({3: {"name": "c"}, 0: {"name": "a"}})
    with (tmp_path / JOURNAL).open("a") as journal:
        journal.write('{"index": 1, "na')
    with Workbook(tmp_path, SETTINGS) as book:
        assert [book.done(i) for i in range(4)] == [True, False, False, True]
        book.note({1: {"name": "b"}})
    assert Workbook(tmp_path, SETTINGS).notes == {3: {"name": "c"}, 0: {"name": "a"}, 1: {"name": "b"}}


def test_other_settings_are_refused_and_named(tmp_path):
    with Workbook(tmp_path, SETTINGS) as book:
        book.note({0: {}})
    with pytest.raises(InputError, match=r"with other settings \(seed: None before, 1 now; task: 'reconstruct' before, 'x' now\)"):
        Workbook(tmp_path, SETTINGS | {"task": "x", "seed": 1})
    assert Workbook(tmp_path, SETTINGS).done(0)


def test_fresh_removes_only_what_an_evaluation_writes(tmp_path):
    with Workbook(tmp_path, SETTINGS) as book:
        book.save("mask", "a", PICTURE)
        book.note({0: {}})
    (tmp_path / "report.html").write_text("old")
    (tmp_path / "mine.txt").write_text("mine")
    book = Workbook(tmp_path, SETTINGS | {"task": "x"}, fresh=True)
    assert not book.done(0)
    assert {path.name for path in tmp_path.iterdir()} == {"settings.json", JOURNAL, ".lock", "mine.txt"}
    assert json.loads((tmp_path / "settings.json").read_text())["task"] == "x"


def test_folders_of_something_else_are_left_alone(tmp_path):
    (tmp_path / "pictures").mkdir()  # somebody's own, although evaluations have a folder of that name
    (tmp_path / "pictures" / "a.png").write_text("")
    for fresh in (False, True):
        with pytest.raises(InputError, match=r"holds files of something else \(pictures\)"):
            Workbook(tmp_path, SETTINGS, fresh=fresh)
    with pytest.raises(InputError, match="a.png cannot be written: File exists"):
        Workbook(tmp_path / "pictures" / "a.png", SETTINGS)
    assert [path.name for path in tmp_path.rglob("*")] == ["pictures", "a.png"]


def test_two_evaluations_do_not_write_into_one_folder(tmp_path):
    with Workbook(tmp_path, SETTINGS) as book:
        book.note({0: {}})
        for fresh in (False, True):
            with pytest.raises(InputError, match="is being written by another evaluation"):
                Workbook(tmp_path, SETTINGS, fresh=fresh)
    assert Workbook(tmp_path, SETTINGS).done(0)

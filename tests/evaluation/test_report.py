"""What an evaluation leaves on disk."""

import html
import json
import re

import numpy as np
import pytest
from asym_jax.evaluation.pairs import Pairs
from asym_jax.evaluation.reconstruct import Result
from PIL import Image

from asym_jax.errors import InputError
from asym_jax.evaluation.report import summary_lines, write_report
from tests.evaluation.tiny import noise

NAME = '<img src="x"> & co'
SETTINGS = {"decoder": "runs/" + NAME, "image_size": 16}


def row(decoder: str, *, pre_error: float | None, psnr: float | None, ssim: float, lpips: float | None) -> dict:
    return {"decoder": decoder, "images": 3, "pre_error": pre_error, "psnr": psnr, "ssim": ssim, "lpips": lpips}


def result(**changes) -> Result:
    """Ours keeps what it was given 20 times better, and is the better one on one of the two pictures that count."""
    values = dict(
        rows=[
            row("vanilla", pre_error=1.0828e-2, psnr=24.987, ssim=0.71234, lpips=0.1375),
            row(NAME, pre_error=5.414e-4, psnr=None, ssim=0.9, lpips=0.02),
        ],
        skipped={},
        notes=[],
        pictures={"vanilla": noise(2, seed=1), NAME: noise(2, seed=2)},
        errors={"vanilla": np.array([0.02, np.nan, 0.001]), NAME: np.array([0.001, np.nan, 0.002])},
    )
    return Result(**values | changes)


@pytest.fixture
def pairs() -> Pairs:
    masks = np.zeros((3, 16, 16, 1), np.float32)
    masks[:, 4:8] = 1
    return Pairs(["a", "b", "c"], noise(3), masks, {})


def page(folder) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_results_json_has_the_documented_keys(tmp_path, pairs):
    given = result(skipped={"lpips": "no weights"}, notes=["unverified: x"])
    write_report(tmp_path / "new" / "out", "reconstruct", SETTINGS, pairs, given)
    document = json.loads((tmp_path / "new" / "out" / "results.json").read_text())
    assert document == {
        "task": "reconstruct",
        "settings": SETTINGS,
        "rows": given.rows,
        "skipped": {"lpips": "no weights"},
        "notes": ["unverified: x"],
    }


def test_the_page_shows_the_numbers_in_their_columns(tmp_path, pairs):
    write_report(tmp_path, "reconstruct", SETTINGS, pairs, result())
    rows = [re.findall(r"<t[dh]>(.*?)</t[dh]>", line) for line in re.findall(r"<tr>(.*?)</tr>", page(tmp_path))]
    assert [cell.split()[0].rstrip(",") for cell in rows[0]] == ["decoder", "pictures", "pre_error", "PSNR", "SSIM", "LPIPS"]
    assert rows[1] == ["vanilla", "3", "1082.8", "24.99", "0.7123", "0.1375"]  # pre_error x 1e-5, as in the paper
    assert rows[2] == [html.escape(NAME), "3", "54.1", "-", "0.9000", "0.0200"]
    assert "1082.8e-5; ours leaves 20.0 times less" in page(tmp_path)
    assert "better one on 1 of 2 pictures" in page(tmp_path)


def test_names_cannot_become_markup(tmp_path, pairs):
    given = result(skipped={"<u>": "<s>"}, notes=["<i>note"])
    write_report(tmp_path, "<b>task", SETTINGS, pairs, given)
    said = page(tmp_path)
    for markup in ('<img src="x">', "<u>", "<s>", "<i>", "<b>task"):
        assert markup not in said
        assert html.escape(markup) in said
    assert said.count("<img ") == 1  # the sheet


def test_what_was_not_measured_is_said(tmp_path, pairs):
    write_report(tmp_path, "reconstruct", SETTINGS, pairs, result(skipped={"lpips": "vgg.pth is missing"}))
    assert "<b>lpips</b> was not measured: vgg.pth is missing" in page(tmp_path)


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [(0.0, "ours leaves none of it"), (None, "masked everywhere, so there are no kept pixels")],
    ids=["perfect", "nothing kept"],
)
def test_the_verdict_divides_by_nothing(tmp_path, pairs, ours, verdict):
    vanilla = None if ours is None else 1e-2
    errors = [np.nan] * 3 if ours is None else [0.1] * 3
    rows = [row(name, pre_error=error, psnr=1.0, ssim=1.0, lpips=None) for name, error in (("vanilla", vanilla), (NAME, ours))]
    given = result(rows=rows, errors={"vanilla": np.array(errors), NAME: np.zeros(3) * np.array(errors)})
    write_report(tmp_path, "reconstruct", SETTINGS, pairs, given)
    assert verdict in page(tmp_path)


def test_pictures_lie_beside_the_page(tmp_path, pairs):
    write_report(tmp_path, "reconstruct", SETTINGS, pairs, result(pictures={"vanilla": noise(2, seed=1), "ours": noise(2, seed=2)}))
    names = {"original": pairs.pixels, "vanilla": noise(2, seed=1), "ours": noise(2, seed=2)}
    assert len(list((tmp_path / "pictures").iterdir())) == 2 * 4
    for name, pictures in names.items():
        for index in range(2):
            np.testing.assert_array_equal(Image.open(tmp_path / "pictures" / f"{index:04}_{name}.png"), pictures[index])
    masked = np.asarray(Image.open(tmp_path / "pictures" / "0001_masked.png"))
    assert (masked[4:8] == 128).all() and (masked[:4] == pairs.pixels[1, :4]).all()
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "report.html", "sheet.png", "pictures"}


def test_the_terminal_gets_one_line_per_decoder():
    vanilla, ours = summary_lines(result().rows)
    assert " ".join(vanilla.split()) == "vanilla 3 pictures pre_error 1082.8e-5 psnr 24.99 dB ssim 0.7123 lpips 0.1375"
    assert "psnr -" in ours


def test_a_place_that_cannot_be_written_is_named(tmp_path, pairs):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=rf"--out {tmp_path}/file/out cannot be written: Not a directory"):
        write_report(tmp_path / "file" / "out", "reconstruct", SETTINGS, pairs, result())

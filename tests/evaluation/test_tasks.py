"""A whole evaluation through the program."""

import contextlib
import errno
import importlib
import io
import json

import numpy as np
import pytest
from PIL import Image

from asym_jax.config import DataConfig, LossConfig, TrainConfig
from asym_jax.errors import CannotSave, InputError
from asym_jax.evaluation.workbook import Workbook
from tests.evaluation.tiny import SIZE, noise, save_decoders, write

program = importlib.import_module("eval")  # its name is also a builtin's


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run called `vanilla`, as the row of the plain decoder is; two pictures, and a mask for each."""
    folder = tmp_path_factory.mktemp("evaluation")
    vae, decoder = save_decoders(folder / "vanilla")
    config = TrainConfig(data=DataConfig(image_size=SIZE, held_out=0), loss=LossConfig(perceptual=0, adversarial=0)).model_dump()
    config["model"]["vae"] = str(vae)
    (folder / "vanilla" / "config.json").write_text(json.dumps(config))
    pictures = noise(2, 24, 32)
    write(folder / "images", {"a.png": pictures[0], "b.png": pictures[1]})
    write(folder / "masks", {"a.png": pictures[0, ..., 0], "b.png": pictures[1, ..., 0]})
    return folder


@pytest.fixture(scope="module")
def said(folder):
    """Evaluates the run once, without any weights of networks; what was printed."""
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        patch.setenv("ASYM_JAX_WEIGHTS", str(folder / "nowhere"))
        patch.chdir(folder)
        program.main(COMMAND)
    return output.getvalue()


COMMAND = ["--run", "vanilla", "--task", "reconstruct", "--images", "images", "--masks", "masks"]
ROWS = ["vanilla", "copy-and-paste", "vanilla (asymmetric)"]


def document(folder) -> dict:
    return json.loads((folder / "results" / "vanilla-reconstruct" / "results.json").read_text())


def test_the_documents_are_where_they_were_promised(folder, said):
    out = folder / "results" / "vanilla-reconstruct"
    expected = {"results.json", "report.html", "report_files", "pictures", "scores", "settings.json", "journal.jsonl", ".lock"}
    assert {path.name for path in out.iterdir()} == expected
    assert {path.name for path in (out / "pictures").iterdir()} == {"original", "mask", "masked", *ROWS}
    assert {path.name for path in (out / "pictures" / "vanilla").iterdir()} == {"a.png", "b.png"}
    assert f"report: {out.relative_to(folder)}/report.html" in said


def test_results_hold_what_the_contract_says(folder, said):
    found = document(folder)
    assert found["task"] == "reconstruct"
    assert [row["decoder"] for row in found["rows"]] == ROWS
    for row in found["rows"]:
        assert row["images"] == 2 and row["psnr"] > 0 and -1 <= row["ssim"] <= 1 and row["seam"] > 0
        assert (row["lpips"], row["lpips_alex"], row["fid"]) == (None, None, None)
    vanilla, pasted, ours = (row["pre_error"] for row in found["rows"])
    assert vanilla > 0 and ours > 0 and vanilla != ours
    assert pasted == 0
    assert "vgg.pth" in found["skipped"]["lpips"] and str(folder / "nowhere") in found["skipped"]["lpips"]
    settings = found["settings"]
    assert settings["decoders"]["vanilla (asymmetric)"]["weights"] == "vanilla/decoder"
    assert (settings["vae"]["weights"], settings["images"], settings["image_size"]) == (
        str(folder / "vanilla" / "vae"),
        "images",
        SIZE,
    )
    assert len(settings["data_sha256"]) == 64 and settings["environment"]["jax"]
    assert "not measured: lpips, lpips_alex, fid" in said and "fetch vgg16" in said


def test_bins_are_those_of_the_masks(folder, said):
    """Holes are where the first channel of the pictures is 128 and above, in the central square."""
    out = folder / "results" / "vanilla-reconstruct" / "pictures" / "mask"
    areas = sorted((np.asarray(Image.open(path)) > 0).mean() for path in out.iterdir())
    labels = [f"{int(area * 10) * 10}-{int(area * 10) * 10 + 10}%" for area in areas]
    assert list(document(folder)["bins"]) == list(dict.fromkeys(labels))


def test_a_second_time_nothing_is_decoded_again(folder, said, monkeypatch, capsys):
    """Not even when pictures were tampered with; but what was measured of them is not looked at either."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ASYM_JAX_WEIGHTS", str(folder / "nowhere"))
    monkeypatch.setattr("asym_jax.evaluation.generate.versions", None)
    before = document(folder)
    program.main(COMMAND)
    printed = capsys.readouterr().out
    assert "going on after 2 examples" in printed
    assert document(folder) == before


def test_a_full_disk_ends_with_one_message(folder, monkeypatch):
    def save(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "full/pictures/a.png")

    monkeypatch.chdir(folder)
    monkeypatch.setenv("ASYM_JAX_WEIGHTS", str(folder / "nowhere"))
    monkeypatch.setattr(Workbook, "save", save)
    message = "^full/pictures/a.png cannot be written: No space left on device. 0 examples are done; the same command goes on$"
    with pytest.raises(CannotSave, match=message):
        program.main([*COMMAND, "--out", "full"])
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ASYM_JAX_WEIGHTS", str(folder / "nowhere"))
    program.main([*COMMAND, "--out", "full"])
    assert json.loads((folder / "full" / "results.json").read_text())["rows"] == document(folder)["rows"]


def test_fewer_examples_are_another_evaluation(folder, said, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(InputError, match="holds an evaluation with other settings .*--fresh"):
        program.main([*COMMAND, "--limit", "1"])

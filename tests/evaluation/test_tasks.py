"""A whole evaluation through the program."""

import contextlib
import importlib
import io
import json

import pytest
from PIL import Image

from asym_jax.config import DataConfig, LossConfig, TrainConfig
from tests.evaluation.tiny import SIZE, noise, save_decoders, write

program = importlib.import_module("eval")  # its name is also a builtin's


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run called `vanilla`, as the column of the plain decoder is; two pictures, and a mask for each."""
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
    """Evaluates the run once, without any weights of LPIPS; what was printed."""
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        patch.setenv("ASYM_JAX_WEIGHTS", str(folder / "nowhere"))
        patch.chdir(folder)
        program.main(["--run", "vanilla", "--task", "reconstruct", "--images", "images", "--masks", "masks"])
    return output.getvalue()


def test_the_documents_are_where_they_were_promised(folder, said):
    out = folder / "results" / "vanilla-reconstruct"
    assert {path.name for path in out.iterdir()} == {"results.json", "report.html", "sheet.png", "pictures"}
    assert f"report: {out.relative_to(folder)}/report.html" in said


def test_results_hold_what_the_contract_says(folder, said):
    document = json.loads((folder / "results" / "vanilla-reconstruct" / "results.json").read_text())
    assert document["task"] == "reconstruct"
    vanilla, ours = document["rows"]
    for row in (vanilla, ours):
        assert row["images"] == 2
        assert row["pre_error"] > 0 and row["psnr"] > 0 and -1 <= row["ssim"] <= 1
        assert row["lpips"] is None
    assert "vgg.pth" in document["skipped"]["lpips"] and str(folder / "nowhere") in document["skipped"]["lpips"]
    assert vanilla["pre_error"] != ours["pre_error"]
    settings = document["settings"]
    assert (settings["decoder"], settings["vae"]) == ("vanilla", str(folder / "vanilla" / "vae"))
    assert (settings["images"], settings["masks"], settings["image_size"]) == ("images", "masks", SIZE)
    assert "lpips was not measured" in said


def test_a_run_called_as_a_column_gets_a_name_of_its_own(folder, said):
    out = folder / "results" / "vanilla-reconstruct"
    document = json.loads((out / "results.json").read_text())
    assert [row["decoder"] for row in document["rows"]] == ["vanilla", "vanilla (asymmetric)"]
    names = {path.name for path in (out / "pictures").iterdir()}
    assert names == {f"000{i}_{name}.png" for i in (0, 1) for name in ("original", "masked", "vanilla", "vanilla (asymmetric)")}
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.width > 4 * 160

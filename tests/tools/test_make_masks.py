"""The program that makes mask sets, killed and continued."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asym_jax.data.evaluation_sets.named import open_evaluation_set
from tools.make_masks import main

ROOT = Path(__file__).parents[2]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_of_pictures_gets_masks_of_the_same_names(tmp_path, capsys):
    for name in ("x/b.jpg", "a.png"):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "pictures" / name)
    assert main([str(tmp_path / "out"), "--images", str(tmp_path / "pictures"), "--recipe", "boxes", "--size", "16"]) == 0
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png")) == ["a.png", "x/b.png"]
    assert "2 masks of 16 pixels, mean area 0." in capsys.readouterr().out


def test_data_sets_call_their_pictures_as_an_evaluation_does(tmp_path):
    """ImageNet in folders of classes: the names are those of the pictures alone."""
    for label, number in (("n01440764", 2), ("n01443537", 1)):
        path = tmp_path / "val" / label / f"ILSVRC2012_val_{number:08}.JPEG"
        path.parent.mkdir(parents=True)
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(path)
    main([str(tmp_path / "out"), "--images", f"imagenet:{tmp_path}", "--recipe", "boxes", "--size", "16"])
    examples = open_evaluation_set(f"imagenet:{tmp_path}", size=16, masks=tmp_path / "out")
    assert [examples.name(i) for i in range(2)] == ["ILSVRC2012_val_00000001", "ILSVRC2012_val_00000002"]
    assert all(examples[i].mask.any() for i in range(2))


def test_pictures_without_a_mask_are_said(tmp_path, capsys):
    main([str(tmp_path / "out"), "--count", "40", "--recipe", "thick_256", "--size", "16", "--variants", "1"])
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    said = f"{len(manifest['rejected'])} pictures have no mask, because all 1 variants cover more than 50%: "
    assert manifest["rejected"] and said + ", ".join(manifest["rejected"][:5]) in capsys.readouterr().err


def test_errors_are_one_message(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path / "out"), "--images", str(tmp_path / "nowhere")])
    assert caught.value.code == 2 and "error: no such folder of pictures" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_program_goes_on_to_the_same_bytes(tmp_path):
    def command(out):
        return [sys.executable, "-m", "tools.make_masks", str(out), "--count", "400", "--recipe", "thick_256", "--size", "128"]

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    with subprocess.Popen(command(killed), cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 100
        while len(list(killed.glob("*.png"))) < 40 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    before = len(list(killed.glob("*.png")))
    assert 40 <= before < 390
    for folder in (killed, whole):
        subprocess.run(command(folder), cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    assert contents(killed) == contents(whole)

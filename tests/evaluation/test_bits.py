"""Whole evaluations in processes of their own: the same pictures and the same FID inputs on 1 and 8 devices, and after SIGKILL."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.tiny import noise, save_decoders, write

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COUNT = 11
SECONDS = 300


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    """A decoder, its autoencoder, pictures, and an Inception of random weights in a file as it is published."""
    pytest.importorskip("torch")
    from tests.models import torch_inception

    folder = tmp_path_factory.mktemp("given")
    save_decoders(folder, levels=2)
    write(folder / "images", {f"{i}.png": picture for i, picture in enumerate(noise(COUNT, 40, 32))})
    (folder / "weights").mkdir()
    torch_inception.torch.save(torch_inception.random_state(), folder / "weights" / "pt_inception-2015-12-05-6726825d.pth")
    return folder


def start(given: Path, out: Path, devices: int) -> subprocess.Popen:
    arguments = ["--weights", "decoder", "--vae", "vae", "--task", "reconstruct", "--images", "images", "--masks", "thin_256"]
    environment = os.environ | {
        "ASYM_JAX_WEIGHTS": str(given / "weights"),
        "ASYM_JAX_UNVERIFIED_WEIGHTS": "1",
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "NPROC": "8",  # on a CPU, XLA orders sums by the number of threads
    }
    command = [sys.executable, str(ROOT / "eval.py"), *arguments, "--image-size", "32", "--rows-per-device", "1", "--out", str(out)]
    return subprocess.Popen(command, cwd=given, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen) -> str:
    printed, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, printed
    return printed


def kill_when(process: subprocess.Popen, path: Path, size: int) -> None:
    """SIGKILL, as soon as a file has grown to more than `size` bytes."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        if path.exists() and path.stat().st_size > size:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def contents(out: Path) -> dict[str, object]:
    """Pictures as bytes, what was measured of each, and the rows."""
    found: dict[str, object] = {str(path.relative_to(out)): path.read_bytes() for path in out.glob("pictures/**/*.png")}
    for path in out.glob("scores/*.npz"):
        with np.load(path) as file:
            found |= {f"{path.name} {name}": file[name].tobytes() for name in file.files if name != "stamp"}
    document = json.loads((out / "results.json").read_text())
    return found | {"rows": document["rows"], "bins": document["bins"], "data": document["settings"]["data_sha256"]}


@pytest.fixture(scope="module")
def eight(given) -> dict[str, object]:
    printed = finish(start(given, given / "eight", 8))
    assert "8 cpu device(s)" in printed and "unverified" in printed
    return contents(given / "eight")


def test_fid_inputs_are_the_same_on_one_device(given, eight):
    finish(start(given, given / "one", 1))
    one = contents(given / "one")
    assert one.keys() == eight.keys()
    assert [name for name in one if one[name] != eight[name]] == []
    assert len(np.frombuffer(one["decoder.npz column/pool3"], np.float32)) == COUNT * 2048
    assert all(row["fid"] > 0 for row in one["rows"])


def test_fid_inputs_are_the_same_after_being_killed(given, eight):
    """Once while pictures are written, on one device; then while they are measured; and finished on eight."""
    out = given / "killed"
    kill_when(start(given, out, 1), out / "journal.jsonl", 0)
    done = len((out / "journal.jsonl").read_text().splitlines())
    assert 0 < done < COUNT
    process = start(given, out, 1)
    kill_when(process, out / "scores" / "original.npz", 0)
    printed = finish(start(given, out, 8))
    assert f"going on after {COUNT} examples" in printed
    killed = contents(out)
    assert killed.keys() == eight.keys()
    assert [name for name in killed if killed[name] != eight[name]] == []

"""Two real processes on loopback, with two pretend devices each, against one process with four."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.training.test_resume import REPOSITORY, TIMING
from tests.training.tiny import save_vae, tiny_config

pytestmark = pytest.mark.slow

TOLERANCE = 1e-6
SECONDS = 600
WITHOUT_EFFECT = "mid_block.attentions.0.to_k.bias"
"""Softmax does not see it, so its gradient is rounding noise, which Adam magnifies."""


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


def train(preset: Path, root: Path, processes: int) -> list[str]:
    """Runs `python train.py` on four devices; returns what each process printed."""
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(4 // processes),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_ENABLE_COMPILATION_CACHE": "0",
    }
    command = [sys.executable, "train.py", "--config", str(preset), "--workdir", str(root)]
    port = free_port()
    with contextlib.ExitStack() as stack:
        started = []
        for i in range(processes):
            which = ["--coordinator", f"127.0.0.1:{port}", "--processes", str(processes), "--process", str(i)]
            process = subprocess.Popen(
                command + which * (processes > 1),
                cwd=REPOSITORY,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)  # whatever happens; first this, then `wait`
            started.append(process)
        printed = [process.communicate(timeout=SECONDS)[0] for process in started]
        assert [process.returncode for process in started] == [0] * processes, printed
    return printed


def records(root: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]


def assert_same(ours: Path, theirs: Path) -> None:
    """Losses, held-out scores and weights."""
    for mine, expected in zip(records(ours), records(theirs), strict=True):
        assert mine.keys() == expected.keys()
        for name in mine.keys() - TIMING:
            # Mean logits, and the adversarial loss that is one, lie near zero: their error is that of logits near one.
            tolerance = {"rtol": TOLERANCE, "atol": 1e-7} if name.startswith("loss/") else {"rtol": 1e-4, "atol": TOLERANCE}
            if name.startswith("held_out/"):  # of pictures in 8 bits: a level may round the other way, one of 256 in 768 values
                tolerance["rtol"] = 1e-3
            if name.startswith("norm/update"):  # Adam makes steps of the tensors `WITHOUT_EFFECT`, too, out of rounding
                tolerance["rtol"] = 1e-3
            np.testing.assert_allclose(mine[name], expected[name], err_msg=name, **tolerance)
    mine, expected = (load_file(root / "decoder" / "diffusion_pytorch_model.safetensors") for root in (ours, theirs))
    assert mine.keys() == expected.keys()
    for name in expected:
        error = np.linalg.norm(mine[name] - expected[name]) / np.linalg.norm(expected[name])
        assert error < TOLERANCE or name.endswith(WITHOUT_EFFECT), f"{name}: {error}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of one process, everything copied, and the preset that made it."""
    folder = tmp_path_factory.mktemp("runs")
    vae = save_vae(folder / "vae", (4, 8))

    def preset(fsdp: int) -> Path:
        config = tiny_config(vae, data={"held_out": 3}, sharding={"fsdp": fsdp, "smallest": 64})
        path = folder / f"fsdp_{fsdp}.py"
        path.write_text(f"from asym_jax.config import TrainConfig\n\nconfig = TrainConfig(**{config.model_dump()!r})\n")
        return path

    train(preset(1), folder / "whole", 1)
    return folder, preset


@pytest.mark.parametrize("fsdp", [1, 2, 4])
def test_two_processes_do_what_one_does(whole, fsdp):
    """Copied to all four devices; split over the two of each process; split over all four."""
    folder, preset = whole
    root = folder / f"two_{fsdp}"
    first, second = train(preset(fsdp), root, 2)
    assert "step 6/6" in first and "4 cpu device(s)" in first
    assert [line for line in second.splitlines() if line and "Gloo" not in line and "peer ranks" not in line] == [], second
    assert ("split" in first) == (fsdp > 1)
    assert_same(root, folder / "whole")
    assert sorted(path.name for path in root.iterdir() if "tfevents" not in path.name) == sorted(
        path.name for path in (folder / "whole").iterdir() if "tfevents" not in path.name
    )
    assert len(list(root.glob("events.out.tfevents.*"))) == 1


def test_a_run_moves_to_two_processes_and_back(whole):
    """Cut off after step 4, once on one process and once on two, and continued on the other number, split otherwise."""
    folder, preset = whole
    there = folder / "moved"
    for origin, processes, fsdp in ((folder / "whole", 2, 4), (there, 1, 2)):
        root = there if processes == 2 else folder / "back"
        shutil.copytree(origin, root)
        shutil.rmtree(root / "decoder")
        shutil.rmtree(root / "checkpoints" / "6")
        (printed, *_) = train(preset(fsdp), root, processes)
        assert "going on from step 4" in printed
        assert_same(root, folder / "whole")

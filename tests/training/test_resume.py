"""Whole runs: killed and resumed, finished, diverged."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from asym_jax.config import TrainConfig
from asym_jax.errors import Diverged, InputError, OutOfPictures
from asym_jax.training.log import Log
from asym_jax.training.loop import run
from asym_jax.training.waiting import Waiting
from tests.training.tiny import save_vae, tiny_config

REPOSITORY = Path(__file__).parents[2]
TIMING = {"images_per_second", "data/waiting", "evaluation_seconds"}


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    return save_vae(tmp_path_factory.mktemp("vae") / "vae", (8,))


def records(root: Path) -> list[dict[str, float]]:
    """metrics.jsonl without what depends on the clock."""
    lines = map(json.loads, (root / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in line.items() if name not in TIMING} for line in lines]


def decoder(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "decoder").iterdir()}


def contents(root: Path) -> dict[Path, bytes]:
    """All files but the lock, which says when it was taken."""
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name != "run.lock"}


def wait_for(path: Path, *, seconds: float = 300, alive: Callable[[], bool] = lambda: True) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert alive() and time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


def run_aloud(config: TrainConfig, root: Path) -> str:
    """Runs, and returns what was printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run(config, root)
    return printed.getvalue()


@pytest.fixture(scope="module")
def runs(vae, tmp_path_factory):
    """A run of six updates; the folder as a power cut would have left it during the sixth; and the run that went on from there.

    The last checkpoint before the cut is that of step 4. The critic wakes in the fourth update, and is felt from the fifth on.
    """
    config = tiny_config(vae, (8,), loss={"critic_start": 3, "adversarial_start": 4})
    whole, cut = tmp_path_factory.mktemp("runs") / "whole", tmp_path_factory.mktemp("runs") / "cut"
    scalars = Log.scalars

    def scalars_and_cut(log: Log, step: int, values: dict[str, float]) -> None:
        scalars(log, step, values)
        if step == 5:
            wait_for(whole / "checkpoints" / "4")
            shutil.copytree(whole, cut)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Log, "scalars", scalars_and_cut)
        run(config, whole)
    at_cut = records(cut)
    return SimpleNamespace(config=config, whole=whole, cut=cut, at_cut=at_cut, printed=run_aloud(config, cut))


def test_a_run_that_was_cut_off_ends_like_one_that_was_not(runs):
    assert [record["step"] for record in runs.at_cut] == [1, 2, 3, 4, 5]
    assert "going on from step 4" in runs.printed
    assert [record["step"] for record in records(runs.cut)] == [1, 2, 3, 4, 5, 6]
    assert records(runs.cut) == records(runs.whole)
    assert decoder(runs.cut) == decoder(runs.whole)


@pytest.mark.slow
def test_when_pictures_stop_coming_the_steps_done_are_saved(runs, tmp_path, monkeypatch):
    """In the fourth step; the last checkpoint on the way is that of step 2."""
    root, asked, go_on = tmp_path / "run", [], Waiting.next

    def next_of_three(waiting: Waiting, running: object) -> object:
        asked.append(1)
        if len(asked) > 3:
            raise InputError("workers died 3 times")
        return go_on(waiting, running)

    with monkeypatch.context() as patch:
        patch.setattr(Waiting, "next", next_of_three)
        with pytest.raises(OutOfPictures, match=r"after step 3, which is saved: workers died 3 times\. Mend that"):
            run(runs.config, root)
        assert {path.name for path in (root / "checkpoints").iterdir()} >= {"2", "3"}
        with pytest.raises(InputError, match="^workers died 3 times$"):  # nothing was done: refused
            run(runs.config, root)
    assert "going on from step 3" in run_aloud(runs.config, root)
    assert records(root) == records(runs.whole) and decoder(root) == decoder(runs.whole)


def test_the_critic_woke_and_was_felt(runs):
    """Or the test above would show less than it says."""
    by_step = {record["step"]: record for record in records(runs.whole)}
    assert "loss/critic" not in by_step[3] and by_step[4]["norm/critic_gradient"] > 0
    assert [by_step[step]["learning_rate/critic"] > 0 for step in (3, 4, 5, 6)] == [False, False, True, True]


def test_a_finished_run_is_left_alone(runs):
    before = contents(runs.whole)
    assert "finished run of 6 steps" in run_aloud(runs.config, runs.whole)
    after = contents(runs.whole)
    assert before.keys() == after.keys()
    assert [path for path in before if before[path] != after[path]] == []


def test_a_run_that_diverges_says_so_and_keeps_what_was_good(vae, tmp_path):
    optim = {"learning_rate": 1e17, "skip_limit": 0}
    config = tiny_config(vae, (8,), loss={"adversarial": 0}, optim=optim, checkpoint={"every": 1})
    with pytest.raises(Diverged, match=r"step 2: .*not finite.*step_00000002"):
        run(config, tmp_path)
    diagnosis = tmp_path / "diagnosis" / "step_00000002"
    report = json.loads((diagnosis / "report.json").read_text())
    assert report["metrics"]["finite"] == "0.0"
    assert "condition_encoder/layers_0/kernel" in report["decoder_norms"]
    with np.load(diagnosis / "batch_0.npz") as saved:
        assert saved["pixels"].shape == (8, 16, 16, 3) and saved["pixels"].dtype == np.uint8
    assert [path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.isdecimal()] == ["1"]
    assert not (tmp_path / "decoder").exists()
    assert [record["step"] for record in records(tmp_path)] == [1]


def train(config: TrainConfig, root: Path, preset: Path) -> subprocess.Popen:
    """Starts `python train.py` on one device."""
    preset.write_text(f"from asym_jax.config import TrainConfig\n\nconfig = TrainConfig(**{config.model_dump()!r})\n")
    command = [sys.executable, "train.py", "--config", str(preset), "--workdir", str(root)]
    return subprocess.Popen(
        command, cwd=REPOSITORY, env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    )


@pytest.mark.slow
def test_a_killed_process_goes_on_when_started_again(vae, tmp_path):
    # The critic's program is compiled in update 23, which leaves seconds to kill the process after checkpoint 20.
    config = tiny_config(
        vae,
        (8,),
        loss={"critic_start": 22, "adversarial_start": 24},
        optim={"steps": 40},
        data={"held_out": 3},
        checkpoint={"every": 10},
        log={"evaluate_every": 15},
    )
    whole, killed, preset = tmp_path / "whole", tmp_path / "killed", tmp_path / "preset.py"
    assert train(config, whole, preset).wait() == 0
    process = train(config, killed, preset)
    try:
        wait_for(killed / "checkpoints" / "20", alive=lambda: process.poll() is None)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "decoder").exists()
    assert train(config, killed, preset).wait() == 0
    assert [record["step"] for record in records(killed)] == list(range(41))
    assert records(killed) == records(whole)
    assert decoder(killed) == decoder(whole)
    sheets = [{path.name: path.read_bytes() for path in (root / "samples").iterdir()} for root in (whole, killed)]
    assert sheets[0] == sheets[1] and len(sheets[0]) == 4

"""Two runs never share a folder."""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from asym_jax.config import TrainConfig
from asym_jax.errors import InputError
from asym_jax.training.lock import Lock, refuse_if_held
from asym_jax.training.workdir import open_workdir

HOLD = """
import sys, time
from pathlib import Path
from asym_jax.training.lock import Lock
lock = Lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_a_second_run_is_refused_and_told_of_the_first(tmp_path):
    root = tmp_path / "run"
    with open_workdir(root, TrainConfig(), fresh=False) as first:
        said = json.loads(first.lock.read_text())
        assert said["pid"] == os.getpid()
        for fresh in (False, True):
            with pytest.raises(
                InputError, match=f"{root} is in use by a run on host {said['host']}, process {os.getpid()}, since 20"
            ):
                open_workdir(root, TrainConfig(), fresh=fresh)
        with pytest.raises(InputError, match="in use by a run"):
            refuse_if_held(first.lock)
        assert json.loads(first.lock.read_text()) == said and first.config.exists()
    with open_workdir(root, TrainConfig(), fresh=True):
        pass
    refuse_if_held(first.lock)


def test_the_lock_of_a_dead_process_is_none(tmp_path):
    path = tmp_path / "run.lock"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"process {process.pid}, since"):
            Lock(path)
        process.kill()
    lock = Lock(path)
    assert json.loads(path.read_text())["pid"] == os.getpid()
    lock.release()


def test_whoever_only_asks_keeps_nobody_out(tmp_path):
    """The processes of one run ask at the same moment as the first of them takes the lock."""
    path = tmp_path / "run.lock"
    path.write_text('{"host": "elsewhere", "pid": 1, "since": "2026"}')
    asking = os.open(path, os.O_RDWR)
    fcntl.flock(asking, fcntl.LOCK_SH)
    refuse_if_held(path)  # two may ask at once
    with ending(lambda: (time.sleep(0.2), os.close(asking))):
        lock = Lock(path)
    assert json.loads(path.read_text())["pid"] == os.getpid()
    lock.release()


@contextlib.contextmanager
def ending(task: Callable[[], object]) -> Iterator[None]:
    """Runs `task` beside what is inside."""
    beside = threading.Thread(target=task)
    beside.start()
    yield
    beside.join()


def test_asking_leaves_nothing_behind(tmp_path):
    refuse_if_held(tmp_path / "nowhere" / "run.lock")
    refuse_if_held(tmp_path / "run.lock")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_says_nothing_still_holds(tmp_path):
    path = tmp_path / "run.lock"
    lock = Lock(path)
    path.write_text("")
    with pytest.raises(InputError, match="by a run that does not say where"):
        refuse_if_held(path)
    lock.release()


def test_a_folder_whose_run_died_before_it_had_a_config_is_free(tmp_path):
    (tmp_path / "run.lock").write_text("")
    (tmp_path / ".config.json.tmp").write_text('{"model"')
    with open_workdir(tmp_path, TrainConfig(), fresh=False) as workdir:
        assert TrainConfig.model_validate_json(workdir.config.read_text()) == TrainConfig()

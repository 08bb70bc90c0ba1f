"""Processes make the same batches as threads, whoever of them dies."""

import gc
import itertools
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import resource_tracker
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asym_jax.data import batches as batches_module
from asym_jax.data.mixture import Mixture
from asym_jax.data.objects import ObjectSource
from asym_jax.data.sources import open_source
from asym_jax.data.stream import batches
from asym_jax.errors import InputError

ROOT = Path(__file__).parents[2]
SETTINGS = dict(batch_size=4, image_size=16, crop_scale=(0.25, 0.9), seed=1, threads=2)


@pytest.fixture
def source(tmp_path):
    """A mixture of files, one of them broken, and arrays, one of them NaN."""
    rng = np.random.default_rng(0)
    for i in range(7):
        Image.fromarray(rng.integers(0, 256, (30, 20 + i, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "3.png").write_text("broken")
    arrays = [rng.uniform(0, 1, (20, 20, 3)) for _ in range(5)]
    arrays[2][0, 0, 0] = np.nan
    return Mixture([open_source(f"folder:{tmp_path}"), ObjectSource(arrays, "arrays")], ("0.7", "0.3"))


def take(source, count, **changes):
    with batches(source, **SETTINGS | changes) as stream:
        return np.stack(list(itertools.islice(stream, count)))


def live():
    return [process for process in multiprocessing.active_children() if "grain" in process.name]


def test_processes_make_the_batches_of_threads_and_tell_what_they_could_not_read(source, tmp_path, caplog):
    expected = take(source, 8, start=3)
    skipped = source.skipped
    assert set(skipped) == {str(tmp_path / "3.png"), "arrays[2]"}
    for component in source.components:
        component.skipped.clear()
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(take(source, 8, start=3, workers=2), expected)
    assert source.skipped == skipped and len(caplog.records) == 2
    assert live() == []


@pytest.mark.parametrize("count", [2, 4])
def test_hosts_share_a_mixture_as_one(source, count):
    shares = [take(source, 5, start=2, process_index=i, process_count=count) for i in range(count)]
    whole = take(source, 5, start=2)
    np.testing.assert_array_equal(np.concatenate(shares, axis=1), whole)  # rows of a batch, in the order of the processes


def test_hosts_with_workers_share_as_one_without(source):
    shares = [take(source, 3, start=2, process_index=i, process_count=2, workers=1 + i) for i in range(2)]
    whole = take(source, 3, start=2)
    np.testing.assert_array_equal(np.concatenate(shares, axis=1), whole)  # rows of a batch, in the order of the processes


def test_a_mixture_shows_each_component_in_epochs_of_its_own(source):
    arrays = ObjectSource([np.full((8, 8, 3), i, np.uint8) for i in range(10)], "a")
    more = ObjectSource([np.full((8, 8, 3), 100 + i, np.uint8) for i in range(3)], "b")
    shown = take(Mixture([arrays, more], (7, 3)), 10, batch_size=10)[..., 0, 0, 0]
    assert (shown >= 100).sum(axis=1).tolist() == [3] * 10
    assert [sorted(epoch) for epoch in shown[shown < 100].reshape(7, 10)] == [list(range(10))] * 7
    epochs = shown[shown >= 100].reshape(10, 3)
    assert [sorted(epoch) for epoch in epochs] == [[100, 101, 102]] * 10
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_killed_worker_costs_time_and_nothing_else(source, caplog):
    expected = take(source, 14)
    caplog.clear()
    found = []
    with batches(source, **SETTINGS, workers=2) as stream, caplog.at_level(logging.WARNING):
        for i in range(14):
            found.append(next(stream))
            if i in (2, 9):
                os.kill(live()[0].pid, signal.SIGKILL)
    np.testing.assert_array_equal(np.stack(found), expected)
    assert 1 <= sum("all were started anew" in record.message for record in caplog.records) <= 2
    assert "exit code -9" in caplog.text


class Killing:
    """Its third picture kills the process that reads it, if that is a worker."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> np.ndarray:
        if index == 2 and multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.zeros((8, 8, 3), np.uint8)


def test_workers_that_keep_dying_end_in_one_clear_error():
    stream = batches(ObjectSource(Killing()), **SETTINGS, workers=1)
    with pytest.raises(InputError, match=r"died 3 times \(with exit code -9.*lower data.workers"):
        list(itertools.islice(stream, 50))
    with pytest.raises(StopIteration):
        next(stream)


class Cycle:
    """Garbage that holds a semaphore until the garbage collector comes."""

    def __init__(self) -> None:
        self.itself = self
        self.semaphore = multiprocessing.get_context("spawn").Semaphore()


def test_the_garbage_of_earlier_workers_is_gone_before_new_ones_are_registered(source, monkeypatch):
    """A collection inside the resource tracker of Python makes it warn of leaks; so there must be nothing to collect."""
    registered, left = [], []

    def register(name: str, kind: str) -> None:
        registered.append(kind)
        left.extend(type(thing) for thing in gc.get_objects() if type(thing) is Cycle)

    monkeypatch.setattr(resource_tracker, "register", register)
    monkeypatch.setattr(resource_tracker, "unregister", lambda name, kind: None)
    gc.disable()
    try:
        Cycle()
        left.clear()  # what its own registration found
        take(source, 1, workers=1)
    finally:
        gc.enable()
    assert "semaphore" in registered and left == []


def test_a_worker_that_dies_where_nobody_notices_is_noticed(monkeypatch):
    """As if it had died with a lock in its hands: no error arrives, and no batch either."""
    monkeypatch.setattr(batches_module, "GRACE", 1)

    class Dead:
        exitcode = -9

    class Silent:
        def __init__(self, first: int) -> None:
            self.first = first

        def __iter__(self) -> "Silent":
            return self

        def __next__(self) -> np.ndarray:
            if self.first == 0:
                time.sleep(6)
            return np.full((1, 2, 2, 3), self.first, np.uint8)

        def close(self) -> None:
            pass

    starts = []

    def open_at(first: int) -> Silent:
        starts.append(first)
        return Silent(len(starts) - 1)

    stream = batches_module.Batches(open_at, 5)
    stream._mine.add(Dead())
    assert next(stream).max() == 1 and starts == [5, 5]
    stream.close()


ORPHANS = """
import sys, time
import numpy as np
from asym_jax.data.objects import ObjectSource
from asym_jax.data.stream import batches
if __name__ == "__main__":
    source = ObjectSource([np.zeros((8, 8, 3), np.uint8)] * 4)
    stream = batches(source, batch_size=2, image_size=8, crop_scale=(0.5, 1.0), seed=0, threads=1, workers=1)
    next(stream)
    import multiprocessing
    print(multiprocessing.active_children()[0].pid, flush=True)
    time.sleep(100)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_go_with_the_run_and_not_before(tmp_path, number):
    (tmp_path / "program.py").write_text(ORPHANS)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen([sys.executable, tmp_path / "program.py"], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        worker = int(run.stdout.readline())
        os.kill(worker, signal.SIGINT)
        os.kill(worker, signal.SIGTERM)
        time.sleep(0.5)
        assert alive(worker)
    finally:
        run.send_signal(number)
        run.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while alive(worker):
        assert time.monotonic() < deadline, "the worker outlived its run"
        time.sleep(0.05)


@pytest.mark.slow
def test_kills_at_any_moment_never_hang(source, monkeypatch, caplog):
    monkeypatch.setattr(batches_module, "FORGIVEN_AFTER", -1)
    rng = np.random.default_rng(5)
    expected = take(source, 30)
    for _ in range(3):
        found, moments = [], sorted(rng.integers(0, 30, 3))
        with batches(source, **SETTINGS, workers=2) as stream:
            for i in range(30):
                if i in moments:  # as soon as there is somebody, also while starting
                    threading.Timer(rng.uniform(0, 1.5), kill_one).start()
                found.append(next(stream))
                time.sleep(rng.uniform(0, 0.1))
        np.testing.assert_array_equal(np.stack(found), expected)
    assert "started anew" in caplog.text


def kill_one() -> None:
    if processes := live():
        os.kill(processes[0].pid, signal.SIGKILL)

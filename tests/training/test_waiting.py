"""What counts as waiting, and when it is worth a warning."""

import threading
import time

import numpy as np
import pytest

from asym_jax.config import DataConfig
from asym_jax.data.batches import Batches
from asym_jax.training import waiting
from asym_jax.training.log import Log
from asym_jax.training.waiting import Waiting

BATCH = np.zeros((1, 2, 2, 3), np.uint8)


class Slow:
    """Batches that take a while each, or the time until `go`."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.go = seconds, threading.Event()

    def __iter__(self) -> "Slow":
        return self

    def __next__(self) -> np.ndarray:
        self.go.wait(self.seconds)
        return BATCH

    def close(self) -> None:
        pass


@pytest.fixture
def log(tmp_path):
    with Log(tmp_path / "metrics.jsonl", start=0, steps=10) as log:
        log.notes = []
        log.note = log.notes.append
        yield log


def test_time_blocked_counts_and_a_batch_at_hand_does_not(log):
    with Batches(lambda start: Slow(0.3), 0) as stream:
        watched = Waiting(stream, DataConfig(), log)
        watched.next(None)
        assert watched.take(1.0) == pytest.approx(0.3, abs=0.15)
        time.sleep(0.9)  # a step; the batch is there long before its end
        watched.next(None)
        assert watched.take(1.0) < 0.02


def test_time_in_which_the_devices_are_busy_does_not_count(log, monkeypatch):
    monkeypatch.setattr(waiting.jax, "block_until_ready", lambda running: time.sleep(0.4))
    with Batches(lambda start: Slow(0.6), 0) as stream:
        watched = Waiting(stream, DataConfig(), log)
        watched.next(None)
        assert watched.take(1.0) == pytest.approx(0.2, abs=0.12)


def test_warned_once_per_while_and_never_at_the_start(log, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: clock[0])
    with Batches(lambda start: Slow(0), 0) as stream:
        watched = Waiting(stream, DataConfig(threads=3), log)

        def period(waited: float) -> float:
            watched._waited = waited
            clock[0] += 100
            return watched.take(10.0)

        assert [period(9.0), period(0.4), len(log.notes)] == [0.9, 0.04, 0]
        assert period(0.6) == pytest.approx(0.06) and len(log.notes) == 1
        assert "6% of the time" in log.notes[0] and "--data.threads (now 3)" in log.notes[0]
        [period(5.0) for _ in range(5)]
        assert len(log.notes) == 1
        [period(5.0) for _ in range(2)]
        assert len(log.notes) == 2

"""Peers timed in turn, so that whatever else happens on the machine happens to all of them."""

import math
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

SHORTEST_SAMPLE = 0.3
"""Seconds. Faster calls are repeated within a sample until it lasts so long."""

BUSY = 0.15
"""Share of the processors that others may use while a machine counts as idle."""

PATIENCE = 4.0
"""Seconds that one sample waits for an idle machine at most."""

GLANCE = 0.08


class Sample(NamedTuple):
    """One call of a peer, averaged over the calls that one reading of the clock covered."""

    seconds: float
    processor_seconds: float  # of all threads of its process


class Timings(NamedTuple):
    """What the rounds gave."""

    samples: dict[str, list[Sample]]  # of each peer, in the order of the rounds
    quiet: int  # samples that began on an idle machine
    noisy: int  # those that waited in vain


def in_turn(peers: Mapping[str, Callable[[int], Sample]], rounds: int, *, wait: bool, seed: int = 0) -> Timings:
    """Times every peer once a round, in a new order each round, after one warm-up of each that does not count.

    Args:
        peers: each takes how often to repeat its work, and says what one repetition took.
        wait: before each sample, until the machine is idle, for at most `PATIENCE`.
    """
    order = list(peers)
    repeats = {name: max(1, math.ceil(SHORTEST_SAMPLE / max(peers[name](1).seconds, 1e-6))) for name in order}
    shuffled = random.Random(seed)
    samples: dict[str, list[Sample]] = {name: [] for name in order}
    waits = []
    for _ in range(rounds):
        shuffled.shuffle(order)
        for name in order:
            waits.append(idle(PATIENCE) if wait else True)
            samples[name].append(peers[name](repeats[name]))
    return Timings(samples, waits.count(True), waits.count(False))


def idle(patience: float) -> bool:
    """Waits until other programs leave the processors alone; False if they did not within `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        before = _ticks()
        if before is None:
            return True
        time.sleep(GLANCE)
        total, free = (after - earlier for after, earlier in zip(_ticks() or before, before, strict=True))
        if total <= 0 or 1 - free / total <= BUSY:
            return True
        if time.monotonic() > deadline:
            return False


def summary(samples: list[Sample]) -> dict[str, float]:
    """Median, minimum and quartiles of the seconds, and median and minimum of the processor seconds."""
    seconds, processor = (np.array(column) for column in zip(*samples, strict=True))
    low, median, high = np.quantile(seconds, (0.25, 0.5, 0.75)).tolist()
    return {
        "samples": len(samples),
        "median": median,
        "minimum": float(seconds.min()),
        "quartiles": [low, high],
        "processor_seconds": float(np.median(processor)),
        "processor_seconds_minimum": float(processor.min()),
    }


def ratios(ours: Mapping[str, float], peer: Mapping[str, float]) -> dict[str, float]:
    """How many times as fast as the peer ours is: by median, by minimum, and by processor seconds."""
    columns = {"median": "median", "minimum": "minimum", "processor": "processor_seconds"}
    return {name: peer[column] / ours[column] for name, column in columns.items()}


def _ticks() -> tuple[int, int] | None:
    """Clock ticks of all processors since the machine started, and those of them spent idle (Linux; None elsewhere)."""
    try:
        first = Path("/proc/stat").read_text().partition("\n")[0]
    except OSError:
        return None
    ticks = [int(word) for word in first.split()[1:]]
    return sum(ticks), ticks[3] + ticks[4]

"""Statistics by pencil, and turns as they are taken."""

import numpy as np
import pytest

from benchmarks.measuring.rounds import Sample, in_turn, ratios, summary


def test_median_minimum_and_quartiles():
    samples = [Sample(seconds, 2 * seconds) for seconds in (5.0, 1.0, 2.0, 4.0, 3.0)]
    assert summary(samples) == {
        "samples": 5,
        "median": 3.0,
        "minimum": 1.0,
        "quartiles": [2.0, 4.0],
        "processor_seconds": 6.0,
        "processor_seconds_minimum": 2.0,
    }


def test_ratios_say_how_many_times_as_fast_ours_is():
    ours = {"median": 2.0, "minimum": 1.0, "processor_seconds": 4.0}
    peer = {"median": 5.0, "minimum": 3.0, "processor_seconds": 2.0}
    assert ratios(ours, peer) == {"median": 2.5, "minimum": 3.0, "processor": 0.5}


def test_everyone_has_one_turn_a_round_and_short_work_is_repeated():
    calls = []

    def peer(name, seconds):
        def call(repeats):
            calls.append((name, repeats))
            return Sample(seconds, seconds)

        return call

    timings = in_turn({"slow": peer("slow", 2.0), "fast": peer("fast", 0.1)}, 20, wait=False)
    assert calls[:2] == [("slow", 1), ("fast", 1)]  # warm-ups
    rounds = np.array(calls[2:]).reshape(20, 2, 2)
    assert all(set(names) == {"slow", "fast"} for names in rounds[:, :, 0])
    assert len({tuple(names) for names in rounds[:, :, 0]}) == 2  # the order changes
    assert {tuple(call) for turn in rounds for call in turn} == {("slow", "1"), ("fast", "3")}
    assert [len(samples) for samples in timings.samples.values()] == [20, 20]
    assert timings.quiet == 40 and timings.noisy == 0


def test_a_busy_machine_is_waited_for_and_counted(monkeypatch):
    from benchmarks.measuring import rounds

    ticks = iter([(100, 50), (200, 60), (200, 60), (300, 155)])  # 90% busy, then 5%
    monkeypatch.setattr(rounds, "_ticks", lambda: next(ticks))
    monkeypatch.setattr(rounds, "GLANCE", 0.0)
    assert rounds.idle(patience=4.0)
    ticks = iter([(100, 50), (200, 60)])
    assert not rounds.idle(patience=-1.0)
    with pytest.raises(StopIteration):
        next(ticks)

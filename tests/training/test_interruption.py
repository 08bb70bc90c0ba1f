"""Runs that are stopped: by SIGKILL at any moment, by SIGTERM and SIGINT in every phase. All end like one that never was."""

import os
import random
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from asym_jax.errors import Interrupted
from asym_jax.training.interruption import Interruption
from tests.training.processes import Training, decoder, in_a_save, last_record, records, sheets, whole_checkpoints
from tests.training.tiny import save_vae, tiny_config

KILLS = 20
HINDERED = Path(__file__).with_name("hindered.py")


def send_to_myself(number: int) -> None:
    """And has the handler run."""
    os.kill(os.getpid(), number)
    time.sleep(0)


def test_before_anything_can_be_lost_a_signal_ends_the_run():
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        with pytest.raises(Interrupted, match="stopped before .* the same command goes on") as caught, Interruption():
            send_to_myself(number)
        assert caught.value.status == status and caught.value.at_once


def test_a_signal_is_noted_and_a_second_interrupt_is_not():
    with Interruption() as interruption, interruption.held():
        assert not interruption.requested(3)
        send_to_myself(signal.SIGTERM)
        send_to_myself(signal.SIGTERM)
        assert interruption.requested(4)
        with pytest.raises(Interrupted, match="at once"):
            send_to_myself(signal.SIGINT)
    stop = interruption.stop("stopped after step 4, which is saved")
    assert (str(stop), stop.status) == ("SIGTERM: stopped after step 4, which is saved; the same command goes on", 143)


def test_the_handlers_of_others_come_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with Interruption():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_long_work_is_given_up_at_once_and_its_errors_are_seen():
    release = threading.Event()
    with Interruption() as interruption, interruption.held():
        assert interruption.attempt(lambda a: a + 1, 2) == 3
        with pytest.raises(ZeroDivisionError):
            interruption.attempt(lambda: 1 / 0)
        threading.Timer(0.2, send_to_myself, [signal.SIGTERM]).start()
        begin = time.monotonic()
        assert interruption.attempt(release.wait, 60) is None
        assert time.monotonic() - begin < 10
    release.set()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run, whose compiled programs are kept."""
    folder = tmp_path_factory.mktemp("whole")
    vae = save_vae(folder / "vae", (8,))
    config = tiny_config(
        vae,
        (8,),
        loss={"critic_start": 3, "adversarial_start": 5},
        optim={"steps": 120},
        data={"held_out": 3},
        checkpoint={"every": 1},
        log={"evaluate_every": 30},
    )
    run = SimpleNamespace(config=config, root=folder / "whole", cache=folder / "cache")
    with Training(config, run.root, cache=run.cache) as training:
        training.ends_with(0)
    return run


def assert_same(root: Path, whole: SimpleNamespace) -> None:
    assert records(root) == records(whole.root)
    assert decoder(root) == decoder(whole.root)
    assert sheets(root) == sheets(whole.root)


def newest(root: Path) -> int:
    return max(whole_checkpoints(root), default=0)


def moments(training: Training, kind: str, chance: random.Random) -> None:
    """Waits for a moment to kill at."""
    root, steps = training.root, chance.randint(1, 8)
    training.until_it_says("pictures of 16 pixels per step")  # what will be done again is gone from the log
    training.until(lambda: last_record(root) >= training.resumed_from + steps, pause=0.002)
    if kind == "save":
        training.until(lambda: in_a_save(root))
        time.sleep(chance.uniform(0, 0.03))
    elif kind == "manifest":
        there = newest(root)
        training.until(lambda: newest(root) > there)
    else:
        time.sleep(chance.uniform(0, 0.3))


@pytest.mark.slow
def test_twenty_kills_change_nothing(whole, tmp_path):
    chance, root, killed = random.Random(4), tmp_path / "killed", []
    for i in range(KILLS):
        with Training(whole.config, root, cache=whole.cache) as training:
            moments(training, ("save", "random", "manifest", "save")[i % 4], chance)
            training.process.kill()
            training.process.wait()
        place = root / "checkpoints" / str(newest(root))
        killed.append(
            {
                "from": training.resumed_from,
                "logged": last_record(root),
                "newest": newest(root),
                "in a save": in_a_save(root),
                "before its manifest": newest(root) > 0 and not (place / "manifest.json").exists(),
            }
        )
        print(killed[-1])
    with Training(whole.config, root, cache=whole.cache) as training:
        training.ends_with(0)
    print("steps repeated:", sum(one["logged"] - one["newest"] for one in killed))
    assert sum(one["in a save"] for one in killed) >= 5
    assert "damaged" not in " ".join(os.listdir(root / "checkpoints"))
    assert_same(root, whole)


@pytest.mark.slow
def test_signals_in_every_phase_change_nothing(whole, tmp_path):
    """One run, stopped while it compiles, steps, saves and evaluates; the last signal comes in its last evaluation."""
    root = tmp_path / "stopped"
    with Training(whole.config, root) as training:  # without the cache, so that there is time
        training.until_it_says("step 0: held-out")
        training.process.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        assert "SIGTERM: stopped before the first step; the same command goes on" in training.ends_with(143, 20)
        print(f"while the step compiles: ended after {time.monotonic() - begin:.1f} s")
    assert newest(root) == 0
    for number, status, phase in ((signal.SIGINT, 130, "step"), (signal.SIGTERM, 143, "save"), (signal.SIGINT, 130, "save")):
        with Training(whole.config, root, cache=whole.cache) as training:
            training.until(lambda training=training: last_record(root) >= training.resumed_from + 3, pause=0.01)
            if phase == "save":
                training.until(lambda: in_a_save(root))
            training.process.send_signal(number)
            said = training.ends_with(status)
        assert f"{number.name}: stopped after step {newest(root)}, which is saved; the same command goes on" in said
        assert last_record(root) == newest(root)  # nothing is done twice
    for step in (30, 60, 120):
        with Training(whole.config, root, cache=whole.cache, program=str(HINDERED), hindrance="slow evaluation") as training:
            training.until_it_says(f"evaluating {step}\n")
            training.process.send_signal(signal.SIGTERM)
            assert f"stopped after step {step}, which is saved" in training.ends_with(143, 20)
        assert last_record(root) == step - 1 and newest(root) == step
        if step == 60:
            break
    with Training(whole.config, root, cache=whole.cache) as training:
        training.until(lambda: last_record(root) >= 62, pause=0.01)
        training.process.kill()  # step 60 has been evaluated, and must not be again
    with Training(whole.config, root, cache=whole.cache, program=str(HINDERED), hindrance="slow evaluation") as training:
        training.until_it_says("evaluating 120\n")
        assert "evaluating 60\n" not in training.said
        training.process.send_signal(signal.SIGTERM)
        assert "stopped after step 120, which is saved" in training.ends_with(143, 20)
    with Training(whole.config, root, cache=whole.cache) as training:
        training.ends_with(0)
    assert_same(root, whole)


@pytest.mark.slow
def test_a_second_interrupt_stops_at_once(whole, tmp_path):
    root = tmp_path / "stopped"
    with Training(whole.config, root, cache=whole.cache, program=str(HINDERED), hindrance="slow save") as training:
        training.until(lambda: last_record(root) >= 2, pause=0.01)
        training.process.send_signal(signal.SIGINT)
        training.until_it_says("saving slowly")
        training.process.send_signal(signal.SIGINT)
        assert "stopped at once; the same command goes on from the newest checkpoint" in training.ends_with(130, 10)
    with Training(whole.config, root, cache=whole.cache) as training:
        training.until_it_says("going on from step")


@pytest.mark.slow
def test_the_second_of_two_runs_ends_at_once(whole, tmp_path):
    root = tmp_path / "run"
    with Training(whole.config, root, cache=whole.cache) as first:
        first.until(lambda: last_record(root) >= 1, pause=0.01)
        for arguments in ((), ("--fresh",)):
            with Training(whole.config, root, *arguments, cache=whole.cache) as second:
                assert f"is in use by a run on host {os.uname().nodename}, process {first.process.pid}" in second.ends_with(2)
        first.process.kill()
    with Training(whole.config, root, cache=whole.cache) as third:
        third.until_it_says("going on from step")

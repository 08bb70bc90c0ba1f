"""The numbers of a run in metrics.jsonl, on the console and in TensorBoard."""

import io
import json
import time
from pathlib import Path

import pytest
from rich.console import Console
from tensorboardX.event_file_writer import EventFileWriter
from tensorboardX.proto.event_pb2 import SessionLog

from asym_jax.training.log import Log, Pace


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_metrics_are_one_object_per_line_with_a_step(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with Log(path, start=0, steps=10) as log:
        log.scalars(2, {"loss/total": 1.5, "norm": 2.0})
        assert records(path) == [{"step": 2, "loss/total": 1.5, "norm": 2.0}]  # readable while the run goes on
        log.scalars(4, {"loss/total": 1.0})
    assert records(path)[1:] == [{"step": 4, "loss/total": 1.0}]


def test_what_json_cannot_say_is_null(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with Log(path, start=0, steps=10) as log:
        log.scalars(1, {"a": float("nan"), "b": float("inf"), "c": -float("inf"), "d": 0.0})

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    assert json.loads(path.read_text(), parse_constant=refuse) == {"step": 1, "a": None, "b": None, "c": None, "d": 0.0}


@pytest.mark.parametrize("rest", ["", '{"step": 4, "loss": 0.', '{"step": 4', "\n"])
def test_a_resumed_run_drops_what_it_will_write_again(tmp_path, rest):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "loss": step / 10}) for step in (0, 1, 2, 2, 3)]
    path.write_text("\n".join(lines) + "\n" + rest)
    with Log(path, start=2, steps=10) as log:
        log.scalars(3, {"loss": 9.0})
    assert [record["step"] for record in records(path)] == [0, 1, 2, 2, 3]
    assert records(path)[-1] == {"step": 3, "loss": 9.0}
    assert [path.name for path in tmp_path.iterdir() if "tmp" in path.name] == []


def test_a_whole_last_line_without_its_end_is_kept(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}')
    with Log(path, start=2, steps=10) as log:
        log.scalars(3, {"loss": 0.5})
    assert records(path) == [{"step": 1}, {"step": 2}, {"step": 3, "loss": 0.5}]


def test_a_run_that_starts_anew_writes_everything_again(tmp_path):
    """Stopped before its first checkpoint, it measures step 0 a second time."""
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0, "held_out/l1": 1.0}\n{"step": 5}\n')
    with Log(path, start=0, steps=10) as log:
        log.scalars(0, {"held_out/l1": 1.0})
    assert records(path) == [{"step": 0, "held_out/l1": 1.0}]


def test_without_a_terminal_each_logged_step_is_a_plain_line(tmp_path):
    console = Console(file=io.StringIO(), width=40, highlight=False)
    with Log(tmp_path / "metrics.jsonl", start=4, steps=10, console=console) as log:
        log.note("a note with [brackets] that is longer than the console is wide")
        log.advance(5)
        log.status(6, 0.12345, 7.89, batch_size=800)
    noted, status = console.file.getvalue().splitlines()
    assert noted == "a note with [brackets] that is longer than the console is wide"
    # 4 steps of 800 pictures are left: 3200 / 7.89 = 405.6 seconds.
    assert status == "step 6/10  loss 0.1235  7.9 images/s  0:06:46 left"


def test_a_terminal_gets_one_line_that_moves(tmp_path):
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None, highlight=False)
    with Log(tmp_path / "metrics.jsonl", start=0, steps=10, console=console) as log:
        log.status(6, 0.12345, 7.89, batch_size=800)
    shown = console.file.getvalue()
    assert "6/10" in shown and "loss 0.1235  7.9 images/s" in shown
    assert "step 6/10" not in shown  # no line of its own


@pytest.mark.parametrize(("start", "hidden_from"), [(0, 0), (4, 5)])
def test_tensorboard_keeps_the_point_at_the_checkpoint(tmp_path, monkeypatch, start, hidden_from):
    """It hides earlier points from the step of the session's start event on; step 4 is not written again."""
    events = []
    monkeypatch.setattr(EventFileWriter, "add_event", lambda self, event: events.append(event))
    with Log(tmp_path / "metrics.jsonl", start=start, steps=10) as log:
        log.scalars(start + 1, {"loss": 0.5})
    assert [event.step for event in events if event.session_log.status == SessionLog.START] == [hidden_from]
    (scalar,) = [event for event in events if event.HasField("summary")]
    assert (scalar.step, scalar.summary.value[0].tag, scalar.summary.value[0].simple_value) == (start + 1, "loss", 0.5)


def test_tensorboard_events_lie_beside_the_metrics(tmp_path):
    with Log(tmp_path / "metrics.jsonl", start=0, steps=10) as log:
        log.scalars(1, {"loss": float("nan")})
    (events,) = tmp_path.glob("events.out.tfevents.*")
    assert events.stat().st_size > 0


def test_pauses_do_not_slow_the_pace(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace()
    pace.count(8)
    now[0] += 2
    with pace.paused():
        now[0] += 50
    pace.count(8)
    now[0] += 2
    assert pace.take() == 4  # sixteen pictures in four seconds
    pace.count(6)
    now[0] += 1
    assert pace.take() == 6

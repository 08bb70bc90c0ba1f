"""What is logged while the disk is full comes when it is not."""

import errno
import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console
from tensorboardX.proto.event_pb2 import Event

from asym_jax.errors import InputError
from asym_jax.training.durable import Appender, Attempts
from asym_jax.training.log import Log


class FullDisk:
    """Lets through so many bytes, then none; in place of a file that is written without a buffer."""

    room = 0

    def __init__(self, file: io.FileIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        count = min(FullDisk.room, len(data))
        if not count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        FullDisk.room -= count
        return self._file.write(bytes(data[:count]))

    def close(self) -> None:
        self._file.close()


@pytest.fixture
def disk(monkeypatch):
    """All files opened for appending, with room for everything until a test says otherwise."""
    real = Path.open

    def opened(path: Path, mode: str = "r", *given: object, **named: object):
        file = real(path, mode, *given, **named)
        return FullDisk(file) if mode == "ab" else file

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(FullDisk, "room", 1 << 30)
    return FullDisk


def test_bytes_wait_until_there_is_room(tmp_path, disk, caplog):
    path = tmp_path / "log"
    file = Appender(path)
    file.write(b"one ")
    file.flush()
    disk.room = 3
    for word in (b"two ", b"three "):
        file.write(word)
        file.flush()
    assert path.read_bytes() == b"one two"
    assert caplog.messages == [f"{path} cannot be written (No space left on device); training goes on"]
    disk.room = 100
    file.write(b"four")
    file.flush()
    assert path.read_bytes() == b"one two three four"
    assert caplog.messages[1:] == [f"{path} can be written again"]
    file.close()


def test_what_is_lost_in_the_end_is_said(tmp_path, disk, caplog):
    file = Appender(tmp_path / "log")
    disk.room = 0
    file.write(b"12345")
    file.close()
    assert caplog.messages[-1] == f"the last 5 bytes of {tmp_path / 'log'} are lost"


def test_attempts_report_the_first_failure_of_a_row(caplog):
    attempts = Attempts("pictures")

    def fail() -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    assert [attempts(work) for work in (fail, fail, lambda: None, lambda: None, fail)] == [False, False, True, True, False]
    failed = "pictures cannot be written (Read-only file system); training goes on"
    assert caplog.messages == [failed, "pictures can be written again", failed]
    with pytest.raises(ZeroDivisionError):
        attempts(lambda: 1 / 0)


def points(path: Path) -> list[tuple[int, float]]:
    """Of a TensorBoard file: length, checksum, event, checksum."""
    data, found = path.read_bytes(), []
    while data:
        length = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + length])
        found += [(event.step, value.simple_value) for value in event.summary.value]
        data = data[16 + length :]
    return found


def test_numbers_survive_a_full_disk(tmp_path, disk):
    console = Console(file=io.StringIO())
    with Log(tmp_path / "metrics.jsonl", start=0, steps=100, console=console) as log:
        for step in range(1, 61):
            if step == 5:
                disk.room = 7
            if step == 55:
                disk.room = 1 << 30
            log.scalars(step, {"loss": step / 4})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    expected = [(step, step / 4) for step in range(1, 61)]
    assert [(line["step"], line["loss"]) for line in lines] == expected
    (events,) = tmp_path.glob("events.out.tfevents.*")
    assert points(events) == expected


class FullStream(io.StringIO):
    """Standard output in a file on a full disk."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_words_that_cannot_be_written_stop_nothing(tmp_path):
    with Log(tmp_path / "metrics.jsonl", start=0, steps=10, console=Console(file=FullStream())) as log:
        log.note("words")
        log.status(1, 0.5, 1.0, batch_size=1)
        log.scalars(1, {"loss": 0.5})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1, "loss": 0.5}\n'


def test_at_the_start_it_is_an_error(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(InputError, match=f"{tmp_path} cannot be written: Is a directory"):
        Log(tmp_path / "metrics.jsonl", start=0, steps=1)

"""How every damaged or forged file must end: one short message that names the file, soon, and without filling the memory."""

import contextlib
import gc
import signal
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asym_jax.errors import InputError

SECONDS = 2.0
BYTES = 64 * 2**20


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Puts off the collection of garbage, which is not the reader's: after eight minutes of slow tests one takes 1.2 s."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def soon(seconds: float) -> Iterator[None]:
    """Fails if what is inside takes more processor time, whether it ends well or not."""
    with uncollected():
        started = time.process_time()
        try:
            yield
        finally:
            assert time.process_time() - started < seconds


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Ends what takes longer with an error, even if it waits for a pipe."""

    def too_slow(*_: Any) -> None:
        raise AssertionError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, too_slow)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with uncollected():
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def assert_refused(read: Callable[[Path], Any], path: Path, reason: str) -> None:
    tracemalloc.start()
    try:
        with within(SECONDS), pytest.raises(InputError, match=rf"^{path} .*{reason}") as refusal:
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < BYTES
    message = str(refusal.value)
    assert len(message) < 900 and message.isprintable()


def refuses(read: Callable[[Path], Any], path: Path, content: bytes) -> bool:
    """Whether `content` is refused as above; for the many variants of one file."""
    path.write_bytes(content)
    try:
        read(path)
    except InputError as refusal:
        assert str(refusal).startswith(f"{path} ") and str(refusal).isprintable()
        return True
    return False

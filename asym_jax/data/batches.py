"""Batches one after another, one of them always ahead, whatever happens to the processes that make them."""

import logging
import multiprocessing
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess

from jaxtyping import PyTree

from asym_jax.errors import InputError

log = logging.getLogger(__name__)

Batch = PyTree
"""An array of crops, or crops with what is cached of them; never an exception."""

MOST_DEATHS = 3
"""Deaths of workers after which a stream gives up,"""
FORGIVEN_AFTER = 200
"""unless as many batches came in between."""
GRACE = 10
"""Seconds without a batch after which a dead worker is believed to be the reason."""


class Batches:
    """An endless iterator over batches; use as a context, or close it.

    A thread fetches the next batch while the last one is used. If a worker process dies, all of them are started
    anew and the stream goes on where it was, with the same batches; if that happens again and again, `next` raises
    InputError.

    Args:
        open_at: gives an iterator over the batches from a number on, with a `close` method.
        start: number of the first batch.
    """

    def __init__(self, open_at: Callable[[int], Iterator[Batch]], start: int) -> None:
        self._open_at, self._number = open_at, start
        self._deaths, self._died_at = 0, start
        self._begin()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        while True:
            item = self._fetched()
            if not isinstance(item, BaseException):
                self._number += 1
                return item
            if not _is_death(item):
                self.close()
                raise item
            self._start_anew(item)

    def ready(self) -> bool:
        """Whether `next` would return at once."""
        return not self._queue.empty()

    def close(self) -> None:
        """Ends the thread, and the processes if there are any."""
        self._stop.set()
        self._thread.join(timeout=30)  # not longer: what is left ends with this process

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self) -> None:
        self._queue: queue.Queue[Batch | BaseException] = queue.Queue(1)
        self._stop = threading.Event()
        self._others = set(_workers())
        self._mine: set[BaseProcess] = set()
        work = (self._open_at(self._number), self._queue, self._stop)
        self._thread = threading.Thread(target=_fetch, args=work, daemon=True, name="batches")
        self._thread.start()
        weakref.finalize(self, self._stop.set)  # for those who forget to close

    def _fetched(self) -> Batch | BaseException:
        """What the thread fetched, or a word on the death of a worker that left it waiting for ever."""
        waited = 0
        while True:
            try:
                return self._queue.get(timeout=1)
            except queue.Empty:
                waited += 1
            if not self._thread.is_alive() and self._queue.empty():
                raise StopIteration  # closed, or it raised before
            self._mine |= _workers() - self._others
            codes = [process.exitcode for process in self._mine if process.exitcode]
            if codes and waited > GRACE:
                return RuntimeError(f"{_DEATH} with exit code {codes[0]}")

    def _start_anew(self, death: BaseException) -> None:
        self._deaths = 1 if self._number - self._died_at > FORGIVEN_AFTER else self._deaths + 1
        self._died_at = self._number
        self._stop.set()
        reason = str(death).partition(_DEATH)[2].partition(".")[0].strip()
        if self._deaths >= MOST_DEATHS:
            raise InputError(
                f"workers that read pictures died {self._deaths} times ({reason}; -9 is often the kernel short of memory, "
                "-7 a full /dev/shm: in Docker raise --shm-size): lower data.workers or data.threads, or set data.workers 0"
            ) from death
        log.warning("a worker that reads pictures died (%s); all were started anew at batch %d", reason, self._number)
        self._thread.join(timeout=GRACE)
        death.with_traceback(None)  # its frames would keep alive what belonged to the dead
        self._begin()


_DEATH = "Worker process was terminated unexpectedly"
"""How grain says it."""


def _is_death(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and str(error).startswith(_DEATH)


def _workers() -> set[BaseProcess]:
    """Live processes of grain, of this stream or any other."""
    return {process for process in multiprocessing.active_children() if process.name.startswith("grain-process-prefetch")}


def _fetch(batches: Iterator[Batch], out: "queue.Queue[Batch | BaseException]", stop: threading.Event) -> None:
    """Moves batches into `out` until told to stop; an error is the last thing there."""
    try:
        while _put(next(batches), out, stop):
            pass
    except BaseException as error:
        _put(error, out, stop)
    finally:
        batches.close()


def _put(item: Batch | BaseException, out: "queue.Queue[Batch | BaseException]", stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            out.put(item, timeout=0.1)
            return True
        except queue.Full:
            pass
    return False

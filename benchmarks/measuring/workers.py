"""Peers in processes of their own: each has its threads, its memory and its peak to itself, and a failure is its own."""

import contextlib
import importlib
import multiprocessing
import os
import resource
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.measuring.rounds import Sample

MOST_SECONDS = float(os.environ.get("ASYM_JAX_BENCHMARK_PATIENCE", "3600"))
"""One call may take this long: some compilers try out hundreds of kernels."""


class PeerFailed(Exception):
    """A peer is absent or broken; the message says why."""


class Worker:
    """A process that builds one peer and does with it what it is asked."""

    def __init__(self, build: str, *arguments: Any) -> None:
        """Starts building; `ready` waits for the end of it.

        Args:
            build: `package.module:function` that makes the peer, an object with `prepare`, `result` and `run`.
            arguments: what the function receives.
        """
        context = multiprocessing.get_context("spawn")
        self._connection, there = context.Pipe()
        self._process = context.Process(target=serve, args=(there, build, arguments), daemon=False)
        self._process.start()
        there.close()

    def ready(self) -> None:
        """Raises PeerFailed if the peer could not be built."""
        self._answer()

    def call(self, method: str, *arguments: Any) -> Any:
        """What the peer's method returns. Raises PeerFailed if it raised, or if the process died."""
        try:
            self._connection.send((method, arguments))
        except (BrokenPipeError, OSError) as error:
            raise PeerFailed(f"its process is gone ({error})") from error
        return self._answer()

    def sample(self, repeats: int) -> Sample:
        return Sample(*self.call("sample", repeats))

    def close(self) -> None:
        """Ends the process."""
        with contextlib.suppress(BrokenPipeError, OSError):
            self._connection.send(None)
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _answer(self) -> Any:
        try:
            if not self._connection.poll(MOST_SECONDS):
                raise PeerFailed(f"no answer within {MOST_SECONDS:.0f} s")
            kind, value = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join(5)
            raise PeerFailed(f"its process ended with status {self._process.exitcode}; was the memory full?") from error
        if kind == "failed":
            raise PeerFailed(value)
        return value


def serve(connection: Connection, build: str, arguments: tuple[Any, ...]) -> None:
    """The life of a worker's process."""
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")  # no advice between the rows of a table
    module, _, function = build.partition(":")
    with _reporting(connection):
        peer = getattr(importlib.import_module(module), function)(*arguments)
        connection.send(("done", None))
        while (request := connection.recv()) is not None:
            method, given = request
            with _reporting(connection):
                value = _sample(peer, *given) if method == "sample" else getattr(peer, method)(*given)
                connection.send(("done", value))


@contextlib.contextmanager
def _reporting(connection: Connection) -> Iterator[None]:
    try:
        yield
    except EOFError:  # the parent is gone
        os._exit(1)
    except Exception as error:
        if os.environ.get("ASYM_JAX_TRACEBACK") == "1":
            traceback.print_exc()
        first_line = (str(error).strip() or "no message").splitlines()[0][:300]
        connection.send(("failed", f"{type(error).__name__}: {first_line}"))


def _sample(peer: Any, repeats: int) -> tuple[float, float]:
    begin, busy = time.perf_counter(), time.process_time()
    peer.run(repeats)
    return (time.perf_counter() - begin) / repeats, (time.process_time() - busy) / repeats


def peak_memory() -> int:
    """Bytes of main memory that this process had at most."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

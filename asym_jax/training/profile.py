"""`--profile START:STOP`: a trace of what devices and host do during some updates."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import jax

from asym_jax.errors import InputError


def require_possible(updates: range | None, steps: int) -> None:
    """Raises InputError unless a run of `steps` updates has all of `updates`."""
    if updates is not None and updates.stop > steps:
        raise InputError(f"--profile {updates.start}:{updates.stop}: the run has {steps} updates, of which the last is {steps - 1}")


class Profile:
    """Traces the updates it is given, on process 0; use as a context."""

    def __init__(self, updates: range | None, folder: Path, start: int, note: Callable[[str], None]) -> None:
        """`start` is the first update still to come.

        Raises:
            InputError: it lies behind the first update to trace.
        """
        if updates is not None and updates.start < start:
            raise InputError(
                f"--profile {updates.start}:{updates.stop}: the run goes on from update {start}; give a range from there on"
            )
        self._updates = updates if jax.process_index() == 0 else None
        self._folder, self._note = folder, note
        self._tracing = False

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @contextlib.contextmanager
    def step(self, n: int) -> Iterator[None]:
        """Around the start of update `n`."""
        if self._updates is None:
            yield
            return
        if n == self._updates.start:
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
            self._tracing = True
        elif n == self._updates.stop:
            self._stop()
        with jax.profiler.StepTraceAnnotation("train", step_num=n):
            yield

    def _stop(self) -> None:
        """Ends the trace once the updates in it are done, and says where it is."""
        if not self._tracing:
            return
        self._tracing = False
        for array in jax.live_arrays():
            array.block_until_ready()
        jax.profiler.stop_trace()
        self._note(
            f"trace of updates {self._updates.start} to {self._updates.stop - 1}: {self._folder}; open it with "
            f"`xprof --logdir {self._folder}` or `tensorboard --logdir {self._folder}` (pip install xprof), "
            "or perfetto_trace.json.gz in it at https://ui.perfetto.dev"
        )

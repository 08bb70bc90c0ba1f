"""SIGTERM and SIGINT: the run saves what it has and ends; the same command goes on.

With one process the signals are caught here. With several, `jax.distributed`
listens for SIGTERM, tells the others, and picks a step that none of them has
reached yet; SIGINT is turned into SIGTERM, so that all of them stop.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils

from asym_jax.errors import Interrupted

GO_ON = "the same command goes on"
LOOK_EVERY = 0.1
"""Seconds between looks at what runs in a thread; its end is noticed at once."""


class Interruption:
    """Hears of a request to stop; use as a context. Outside of the main thread it hears nothing.

    Outside of `held` a signal raises Interrupted, because there is nothing to lose; inside it is noted, for `requested` to ask
    about. A second SIGINT raises in any case.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None  # the first that came
        self.shared = jax.distributed.is_initialized()
        self._holding = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            # JAX's own handler must stay in place for SIGTERM when there are several processes.
            for one in (signal.SIGINT,) if self.shared else (signal.SIGINT, signal.SIGTERM):
                self._before[one] = signal.signal(one, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)
        self._before.clear()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Inside, signals are noted and not raised."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False

    def requested(self, step: int) -> bool:
        """Whether to stop after `step` updates; all processes must ask after every update, and hear the same."""
        if not self.shared:
            return self.signal is not None
        try:
            reached = multihost_utils.reached_preemption_sync_point(step)
        except RuntimeError:  # its service is switched off
            return False
        if reached:
            self.signal = self.signal or signal.SIGTERM
        return reached

    @property
    def stops_alone(self) -> bool:
        """Whether a signal came that no other process need hear of."""
        return self.signal is not None and not self.shared

    def attempt(self, work: Callable, *given: Any) -> Any:
        """What `work` returns, or None if a signal came first and it was given up; it must not matter whether it is finished.

        Python's signal handlers wait for C++ to return, and a compiler takes minutes: so the work goes to a thread.
        With several processes nothing is given up, because the others would wait for ever.
        """
        if self.shared or not self._before:
            return work(*given)
        result: list[Any] = []
        failure: list[BaseException] = []

        def run() -> None:
            try:
                result.append(work(*given))
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=run, name=getattr(work, "__name__", "work"), daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(LOOK_EVERY)
            if self.signal is not None:
                return None
        if failure:
            raise failure[0]
        return result[0]

    def stop(self, what_was_saved: str) -> Interrupted:
        """The exception to raise; the message begins with the signal and ends with how to go on."""
        heard = self.signal or signal.SIGTERM
        return Interrupted(f"{heard.name}: {what_was_saved}; {GO_ON}", status=128 + heard, at_once=not self.shared)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        first, self.signal = self.signal, self.signal or signal.Signals(number)
        if first is not None and number == signal.SIGINT:
            raise Interrupted(f"stopped at once; {GO_ON} from the newest checkpoint", status=128 + number, at_once=True)
        if self.shared:
            os.kill(os.getpid(), signal.SIGTERM)  # JAX tells the others
        elif not self._holding:
            raise self.stop("stopped before anything was to be saved")

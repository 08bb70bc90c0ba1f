"""When a checkpoint is due, and what happens when it cannot be written."""

import logging
import time
from collections.abc import Callable
from typing import Any

import jax

from asym_jax.checkpoint import Checkpoints, SaveFailed
from asym_jax.checkpoint.agreement import of_first
from asym_jax.config import TrainConfig
from asym_jax.errors import CannotSave
from asym_jax.training.state import TrainState

log = logging.getLogger(__name__)

LOOK_EVERY = 0.5
"""Seconds between questions whether to give up."""
MINUTE = 60.0
RETRY_AFTER = 60.0
"""Seconds from a failed save to the next attempt, at the latest."""


class Saver:
    """Saves every so many updates. After a failure training goes on and saving is tried again, until patience ends.

    With several processes the attempts stay at multiples of `checkpoint.every`: there is no clock that all of them share.
    """

    def __init__(self, config: TrainConfig, checkpoints: Checkpoints, clock: Callable[[], float] = time.monotonic) -> None:
        self._config, self._checkpoints, self._clock = config, checkpoints, clock
        self._patience = MINUTE * config.checkpoint.patience
        self._failing_since: float | None = None
        self._tried = 0.0  # when
        self._started: int | None = None  # the step that was handed in last
        self.saved = checkpoints.newest

    def due(self, done: int) -> bool:
        """Whether the state after `done` updates is to be saved."""
        every, steps = self._config.checkpoint.every, self._config.optim.steps
        return done % every == 0 or done == steps or self._retries()

    def save(self, done: int, state: TrainState, record: dict[str, float]) -> None:
        """Starts saving; must be called before the update that is given `state`. `record` is what was logged of this step.

        Raises CannotSave when patience has ended.
        """
        best = self._config.checkpoint.keep_best
        scores = {best: record[best]} if best in record else None
        self._hear()
        try:
            self._start(done, state, scores=scores)
        except SaveFailed as error:
            self._failed(done, error)

    def look(self) -> None:
        """To be called after every update: hears of a save that failed or ended. Raises CannotSave when patience has ended."""
        if self._started is not None and not self._checkpoints.busy and jax.process_count() == 1:
            self._hear()

    def finish(self, done: int, state: TrainState, pending: dict[str, Any] | None = None, *, impatient: Callable[[], bool]) -> None:
        """Sees to it that the state after `done` updates is saved, and waits for that.

        Args:
            pending: what the record of this step still lacks an evaluation for.
            impatient: whether to give up at the first failure; otherwise saving is tried again until patience ends.

        Raises:
            CannotSave: it cannot be.
        """
        while True:
            self._hear()
            if self.saved == done:
                return
            try:
                self._start(done, state, notes={"pending": pending} if pending is not None else None)
                self._settle()
                return
            except SaveFailed as error:
                if impatient():
                    raise self._give_up(error) from error
                self._failed(done, error)
                again = self._clock() + min(RETRY_AFTER, self._patience)
                while self._clock() < again:
                    if impatient():
                        raise self._give_up(error) from error
                    time.sleep(LOOK_EVERY)

    def _hear(self) -> None:
        """Waits for the save that was started last, and reports it if it failed."""
        started = self._started
        try:
            self._settle()
        except SaveFailed as error:
            self._failed(started, error)

    def _start(self, done: int, state: TrainState, **also: Any) -> None:
        self._started = done
        self._checkpoints.save(done, state._asdict(), self._config.model_dump(mode="json"), **also)

    def _settle(self) -> None:
        started, self._started = self._started, None
        self._checkpoints.settle()
        if started is not None:
            self.saved = started
            if self._failing_since is not None:
                log.warning("checkpoints can be written again: step %d is saved", started)
            self._failing_since = None

    def _failed(self, step: int | None, error: SaveFailed) -> None:
        self._started = None
        now = self._tried = self._clock()
        if self._failing_since is None:
            self._failing_since = now
        if of_first(lambda: now - self._failing_since >= self._patience):
            raise self._give_up(error) from error
        log.warning("checkpoint %d could not be written (%s); training goes on and tries again", step, error)

    def _retries(self) -> bool:
        waits = min(RETRY_AFTER, self._patience)
        return self._failing_since is not None and jax.process_count() == 1 and self._clock() - self._tried >= waits

    def _give_up(self, error: SaveFailed) -> CannotSave:
        left = "nothing was saved" if self.saved is None else f"the newest checkpoint is that of step {self.saved}"
        return CannotSave(f"no checkpoint could be written ({error}); {left}. Mend that; the same command goes on from there.")

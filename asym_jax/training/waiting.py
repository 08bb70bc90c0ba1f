"""The share of a run that is spent waiting for pictures."""

import time

import jax
from jaxtyping import PyTree

from asym_jax.config import DataConfig
from asym_jax.data.batches import Batches
from asym_jax.training.log import Log

TOO_MUCH = 0.05
"""Share of waiting that is worth a warning."""
QUIET = 600.0
"""Seconds between two warnings, at least."""


class Waiting:
    """Takes batches from a stream and measures how long the devices had nothing to do because of it."""

    def __init__(self, stream: Batches, data: DataConfig, log: Log) -> None:
        self._stream, self._data, self._log = stream, data, log
        self._waited, self._periods, self._warned = 0.0, 0, -QUIET

    def next(self, running: PyTree | None) -> PyTree:
        """The next batch.

        Args:
            running: results of the step that the devices are at. A late batch costs nothing before that is done; so if
                the batch is late, it is waited for first.
        """
        if self._stream.ready():
            return next(self._stream)
        jax.block_until_ready(running)
        begin = time.monotonic()
        batch = next(self._stream)
        self._waited += time.monotonic() - begin
        return batch

    def take(self, seconds: float) -> float:
        """The share of the `seconds` since the last call (or the beginning) that was spent waiting.

        Above 5% the log says what helps, except after the first period, in which the stream itself begins.
        """
        share, self._waited = min(1.0, self._waited / max(seconds, 1e-9)), 0.0
        self._periods += 1
        now = time.monotonic()
        if share > TOO_MUCH and self._periods > 1 and now - self._warned >= QUIET:
            self._warned = now
            self._log.note(
                f"warning: {share:.0%} of the time since the last log was spent waiting for pictures. What helps: more "
                f"--data.threads (now {self._data.threads}) as long as cores are idle; "
                f"--data.workers (now {self._data.workers}) if one core is full and others are idle; "
                "packing files that lie on a network disk (python -m tools.pack_array_record)"
            )
        return share

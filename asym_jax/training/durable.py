"""Files that a run goes on without: what cannot be written now is reported once, and written as soon as it can be."""

import logging
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

LONGEST = 1 << 26
"""Bytes kept for later, per file; beyond that the oldest are lost."""


class Attempts:
    """Tries to write one kind of file. Reports the first failure of a row, and when it works again."""

    def __init__(self, what: str) -> None:
        self._what, self.failing = what, False

    def __call__(self, write: Callable[[], None]) -> bool:
        """Whether `write` worked; OSError is the only failure that is forgiven."""
        try:
            write()
        except OSError as error:
            if not self.failing:
                log.warning("%s cannot be written (%s); training goes on", self._what, error.strerror or error)
            self.failing = True
            return False
        if self.failing:
            log.warning("%s can be written again", self._what)
        self.failing = False
        return True


class Appender:
    """A file that only grows, and in order; use as a context or close it.

    Bytes go to the system with every `flush`, so nothing that was flushed is lost with the process.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError if it cannot be opened at all."""
        self._path, self._pending, self._attempts = path, bytearray(), Attempts(str(path))
        self._file = path.open("ab", buffering=0)

    def write(self, data: bytes) -> None:
        """Adds bytes to what the next `flush` writes."""
        self._pending += data
        del self._pending[: max(0, len(self._pending) - LONGEST)]

    def flush(self) -> None:
        """Writes what it can of all that is pending; never raises."""
        self._attempts(self._drain)

    def close(self) -> None:
        """Flushes for the last time."""
        self.flush()
        if self._pending:
            log.warning("the last %d bytes of %s are lost", len(self._pending), self._path)
            self._pending.clear()
        if self._file is not None:
            self._file.close()

    def _drain(self) -> None:
        try:
            if self._file is None:
                self._file = self._path.open("ab", buffering=0)
            while self._pending:
                del self._pending[: self._file.write(self._pending)]
        except OSError:
            if self._file is not None:  # a folder that was mounted anew needs another one
                self._file.close()
                self._file = None
            raise

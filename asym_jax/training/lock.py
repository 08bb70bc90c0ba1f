"""One run per folder: a lock that lives as long as the process that holds it, and says who that is."""

import datetime
import errno
import fcntl
import json
import os
import socket
import time
import weakref
from pathlib import Path

from asym_jax.errors import InputError

HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)

PATIENCE = 1.0
"""Seconds for which a held lock is tried again: whoever only asks, as the other processes of a run do, holds it for an instant."""


class Lock:
    """An exclusive lock on a file, which stays behind; the system releases it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        """Takes the lock, or raises InputError that names the holder. Where the file system knows no locks, there is none.

        Raises:
            OSError: the file cannot be written.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        deadline = time.monotonic() + PATIENCE
        while not _taken(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                try:
                    raise _refusal(path, descriptor)
                finally:
                    os.close(descriptor)
            time.sleep(0.01)
        self.release = weakref.finalize(self, os.close, descriptor)
        now = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, (json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": now}) + "\n").encode(), 0)


def refuse_if_held(path: Path) -> None:
    """Raises InputError if another run holds the lock right now. Changes nothing."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return
    try:
        if not _taken(descriptor, fcntl.LOCK_SH):  # shared: any number may ask at the same time
            raise _refusal(path, descriptor)
    finally:
        os.close(descriptor)


def _taken(descriptor: int, kind: int) -> bool:
    """Whether nobody else holds the lock, so that now we do. True as well where the file system knows no locks."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in HELD
    return True


def _refusal(path: Path, descriptor: int) -> InputError:
    holder = _holder(descriptor)
    return InputError(f"--workdir {path.parent} is in use by a run {holder}. Stop that one first, or choose another --workdir.")


def _holder(descriptor: int) -> str:
    try:
        said = json.loads(os.pread(descriptor, 1 << 12, 0))
        return f"on host {said['host']}, process {said['pid']}, since {said['since']}"
    except (OSError, ValueError, TypeError, KeyError):
        return "that does not say where"

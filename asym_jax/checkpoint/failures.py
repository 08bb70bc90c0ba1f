"""What Orbax says of a failure, made short: it writes pages of tracebacks, from several threads."""

import logging
import re
import sys
import traceback
import warnings
from typing import Any

ORBAX = re.compile(r"[/.]orbax[/.]|tensorstore|OCDBT|zarr")


class SaveFailed(Exception):
    """A checkpoint could not be written; the message is the reason."""


def quieten() -> None:
    """Drops the tracebacks that Orbax and its abandoned tasks leave; their exceptions reach us, and are reported in one line."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).addFilter(_not_of_orbax)
    # Collected without having run, in whatever frame is the current one, hence no module. We have no coroutines of our own.
    warnings.filterwarnings("ignore", message="coroutine .* was never awaited", category=RuntimeWarning)
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        # Reads and writes that are still under way when another fails report to an event loop that is gone.
        if not (isinstance(unraisable.exc_value, RuntimeError) and str(unraisable.exc_value) == "Event loop is closed"):
            before(unraisable)

    sys.unraisablehook = hook


def _not_of_orbax(record: logging.LogRecord) -> bool:
    said = record.pathname
    if record.name == "asyncio":
        trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
        said = record.getMessage() + trace
    return not ORBAX.search(said)


def reason_of(error: BaseException) -> str:
    """One line. Orbax wraps what TensorStore says, which hides what the system said."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    if system := re.search(r"([^:]+) \[os_error_code=", str(error)):
        return system[1].strip()
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]

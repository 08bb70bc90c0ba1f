"""Where the numbers of a run go: the console, metrics.jsonl and TensorBoard."""

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from asym_jax.errors import InputError
from asym_jax.training.board import open_board
from asym_jax.training.durable import Appender


class Log:
    """Writes scalars everywhere and keeps a progress line alive; use as a context.

    On a terminal the line is redrawn in place; elsewhere each logged step prints
    a line of its own.
    """

    def __init__(self, metrics: Path, *, start: int, steps: int, console: Console | None = None) -> None:
        """Raises InputError if the folder of `metrics` cannot be written; later, that is reported and waited out."""
        self.console = console or Console(highlight=False)
        try:
            _drop_what_comes_again(metrics, start)
            self._file = Appender(metrics)
            self._board = open_board(metrics.parent, start=start)
        except OSError as error:
            raise InputError(f"{metrics.parent} cannot be written: {error.strerror or error}") from error
        self._steps = steps
        self._progress = Progress(
            TextColumn("[bold]step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
        )
        self._task: TaskID = self._progress.add_task("", total=steps, completed=start, status="compiling")

    def __enter__(self) -> "Log":
        if self.console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._progress.stop()
        self._board.close()
        self._file.close()

    def note(self, message: str) -> None:
        """Prints a line above the progress line. Output that goes to a full disk is lost, and no reason to stop."""
        with contextlib.suppress(OSError):
            self.console.print(message, markup=False, soft_wrap=True)

    def advance(self, step: int) -> None:
        """Moves the progress line to `step` updates done."""
        self._progress.update(self._task, completed=step)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Records one step: a JSON object with `step`, and a TensorBoard point for each value. Without values, nothing."""
        if not values:
            return
        # JSON has no NaN; a non-finite value becomes null, and TensorBoard shows it as it is.
        record = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._file.write((json.dumps({"step": step, **record}) + "\n").encode())
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def status(self, step: int, loss: float, images_per_second: float, batch_size: int) -> None:
        """Shows loss, speed and (at that speed) the time left on the progress line."""
        status = f"loss {loss:.4f}  {images_per_second:.1f} images/s"
        self._progress.update(self._task, completed=step, status=status)
        if not self.console.is_terminal:
            seconds = round((self._steps - step) * batch_size / images_per_second)
            left = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
            self.note(f"step {step}/{self._steps}  {status}  {left} left")


def recorded(metrics: Path, step: int) -> bool:
    """Whether metrics.jsonl has a record of `step`."""
    return metrics.exists() and any(line.startswith(f'{{"step": {step},') for line in metrics.read_text().splitlines())


def _drop_what_comes_again(metrics: Path, start: int) -> None:
    """Removes records beyond step `start`, where a run goes on, and a half-written last line; all of them if it starts anew."""
    if not metrics.exists():
        return
    kept = []
    for line in metrics.read_text().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if start and record["step"] <= start:
            kept.append(line)
    temporary = metrics.with_name(f".{metrics.name}.tmp")
    temporary.write_text("".join(f"{line}\n" for line in kept))
    temporary.replace(metrics)


class Pace:
    """Pictures per second of the steps alone."""

    def __init__(self) -> None:
        self._pictures, self._begin = 0, time.monotonic()

    def count(self, pictures: int) -> None:
        self._pictures += pictures

    def take(self) -> float:
        """The speed since the last call."""
        now = time.monotonic()
        speed = self._pictures / max(now - self._begin, 1e-9)
        self._pictures, self._begin = 0, now
        return speed

    def elapsed(self) -> float:
        """Seconds since the last `take`."""
        return time.monotonic() - self._begin

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The time spent inside does not count."""
        begin = time.monotonic()
        yield
        self._begin += time.monotonic() - begin

"""How far a transfer is, for people who wait."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn


@contextlib.contextmanager
def progress_bar(name: str, console: Console | None = None) -> Iterator[Callable[[int, int | None], None]]:
    """Shows a transfer on stderr, from the first report on; yields what `fetch` takes as `report`.

    On a terminal it is a bar with size, speed and time left; elsewhere one line
    at the start and one at the end.
    """
    console = console or Console(stderr=True, highlight=False)
    with (_bar if console.is_terminal else _lines)(name, console) as report:
        yield report


@contextlib.contextmanager
def _bar(name: str, console: Console) -> Iterator[Callable[[int, int | None], None]]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(name, total=None, visible=False)
        before: int | None = None

        def report(done: int, total: int | None) -> None:
            nonlocal before
            if before is None or done < before:
                # Bytes that were there already say nothing about the speed.
                progress.reset(task, completed=done, total=total, visible=True)
            progress.update(task, completed=done, total=total)
            before = done

        yield report


@contextlib.contextmanager
def _lines(name: str, console: Console) -> Iterator[Callable[[int, int | None], None]]:
    begin, last = time.monotonic(), 0

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    def report(done: int, total: int | None) -> None:
        nonlocal last
        if not last:
            size = "of unknown size" if total is None else f"of {total:,} bytes"
            say(f"fetching {name} {size}" + (f", from byte {done:,} on" if done else ""))
        last = max(done, 1)

    yield report
    if last:
        say(f"fetched {name} in {time.monotonic() - begin:.0f} s")

"""Fetches published files: resumable, checked, and put in place only when complete and right."""

import http.client
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from asym_jax.errors import InputError
from asym_jax.weights.fetching.cache import Finding, Origin, Record, State, check_file, read_manifest, write_record
from asym_jax.weights.fetching.partial import BLOCK, Begun, Part, held_part, on_disk
from asym_jax.weights.fetching.published import PublishedFile, by_hand, fetch_line
from asym_jax.weights.fetching.server import Answer, Lasting, Passing, ask, sorted_failure

ATTEMPTS = 5
"""That may fail one after the other without bringing the file further."""
FIRST_PAUSE = 1.0
"""Seconds before the second attempt; twice as many before each later one."""

Report = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes of the whole file, if known."""


class Fetched(NamedTuple):
    """What `fetch` did."""

    new: bool  # False: the file was there already
    finding: Finding


def fetch(
    file: PublishedFile, folder: Path, *, report: Report, force: bool = False, others: Sequence[PublishedFile] = ()
) -> Fetched:
    """Brings one file into `folder`, unless it is there.

    The hash that the file must have is the published one or, where there is none,
    the one that the server announces; either way the manifest remembers the hash
    of what came. An interrupted transfer goes on where it ended.

    Args:
        force: replace whatever stands there; it stays until the new file is complete and right.
        others: files that are wanted as well; the message of a failure tells of those that are not there either.

    Raises:
        InputError: the file cannot be had (the message says how to put it there by hand),
            or another one stands in its place.
    """
    target = folder / file.name
    try:
        with on_disk(target.parent):
            target.parent.mkdir(parents=True, exist_ok=True)
        if not force and (there := _what_is_there(file, folder)):
            return there
        with held_part(target) as part:
            if not force and (there := _what_is_there(file, folder)):  # another program brought it in between
                return there
            part.take_over(file.url, file.sha256)
            _receive(part, file, report)
            return Fetched(True, _put_in_place(part, file, folder))
    except (Passing, Lasting) as error:
        missing = [file, *(other for other in others if other != file and not (folder / other.name).exists())]
        what = "it" if len(missing) == 1 else "what is missing"
        raise InputError(
            f"{file.name} could not be fetched: {error}. To put {what} there by hand: {by_hand(missing, folder)}"
        ) from error


def _what_is_there(file: PublishedFile, folder: Path) -> Fetched | None:
    finding = check_file(file, folder, read_manifest(folder).get(file.name))
    if finding.state is State.WRONG:
        raise InputError(f"{folder / file.name} is another file: {finding.detail}. {fetch_line([file])} --force replaces it")
    return Fetched(False, finding) if finding.state in (State.OK, State.UNVERIFIED) else None


def _receive(part: Part, file: PublishedFile, report: Report) -> None:
    """Attempts until all is there."""
    failures, furthest = 0, part.size
    while True:
        try:
            _attempt(part, file, report)
            return
        except Passing as error:
            failures = 1 if part.size > furthest else failures + 1
            furthest = max(furthest, part.size)
            if failures == ATTEMPTS:
                kept = f"; the first {part.size:,} bytes are kept, and the same command goes on from there" if part.size else ""
                raise Lasting(f"{error}, {ATTEMPTS} times in a row{kept}") from error
        time.sleep(FIRST_PAUSE * 2 ** (failures - 1))


def _attempt(part: Part, file: PublishedFile, report: Report) -> None:
    answer = ask(file.url, part.size, part.begun.etag if part.begun else None)
    with answer.body:
        total = file.bytes if answer.total is None else answer.total
        _compare(file, answer, total)
        if answer.status != 200 and not _continues(part, answer):
            part.restart()
            raise Passing("the file on the server is not the one whose beginning is here")
        if answer.status == 416:  # the last byte had come, and then the program ended
            return
        if answer.status == 200:
            part.restart()
            part.begin(Begun(file.url, answer.etag, answer.sha256, total))
        report(part.size, total)
        while block := _read(answer, file):
            part.append(block)
            report(part.size, total)
            if total is not None and part.size > total:
                part.restart()
                raise Lasting(f"more than the expected {total:,} bytes came")
    if total is not None and part.size < total:
        raise Passing(f"the connection ended after {part.size:,} of {total:,} bytes")


def _read(answer: Answer, file: PublishedFile) -> bytes:
    try:
        return answer.body.read1(BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise sorted_failure(error, urlsplit(answer.body.url).hostname or file.url) from error


def _compare(file: PublishedFile, answer: Answer, total: int | None) -> None:
    """Refuses a file that cannot be the right one before it is transferred."""
    if file.bytes is not None and total != file.bytes:
        raise Lasting(f"the server's file has {total:,} bytes, the published one {file.bytes:,}")
    if file.sha256 and answer.sha256 and answer.sha256 != file.sha256:
        raise Lasting(f"the server's file has SHA-256 {answer.sha256}, the published one {file.sha256}")


def _continues(part: Part, answer: Answer) -> bool:
    """Whether an answer to a request for the rest is about the file whose beginning is here."""
    if part.begun is None:
        return False
    pairs = [(part.begun.etag, answer.etag), (part.begun.sha256, answer.sha256), (part.begun.total, answer.total)]
    same = all(old == new for old, new in pairs if old is not None and new is not None)
    return same and (answer.status == 206 or part.size == answer.total)


def _put_in_place(part: Part, file: PublishedFile, folder: Path) -> Finding:
    assert part.begun is not None
    found = part.digest.hexdigest()
    origin = Origin.PUBLISHED if file.sha256 else Origin.ANNOUNCED if part.begun.sha256 else Origin.FIRST
    expected = file.sha256 or part.begun.sha256 or found
    if found != expected:
        part.remove()
        raise Lasting(f"what came has SHA-256 {found}, expected {expected} ({origin}); it was deleted")
    with on_disk(folder):  # first, so that whatever stands in its place can be checked
        write_record(folder, file.name, Record(file.url, part.size, found, origin))
    part.finish()
    return Finding(file.name, State.OK, f"SHA-256 {origin}")

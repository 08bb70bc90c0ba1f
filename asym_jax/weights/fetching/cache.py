"""The folder of published files: where it is, what is known of its files, and whether they are the right ones.

`manifest.json` in it remembers what each fetched file was when it came, so that
files whose hash nobody publishes can be checked later as well.
"""

import contextlib
import enum
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from asym_jax.errors import InputError
from asym_jax.weights.fetching.published import PUBLISHED, PublishedFile

MANIFEST = "manifest.json"


class Origin(enum.StrEnum):
    """Where a hash in the manifest is from, the best source first."""

    PUBLISHED = "published"
    ANNOUNCED = "announced by the server"
    FIRST = "of the file as first received"


class Record(NamedTuple):
    """What the manifest holds of a file, under its name."""

    url: str
    bytes: int
    sha256: str
    hash_from: str  # an Origin


class State(enum.StrEnum):
    """What became of a file."""

    OK = "ok"
    WRONG = "wrong"
    UNVERIFIED = "unverified"
    PARTIAL = "partial"
    MISSING = "missing"


class Finding(NamedTuple):
    """A file of the table or the manifest, and what stands in its place."""

    file: str
    state: State
    detail: str = ""  # expected and found, where the hash is from, how much of it is there; may be empty


def weights_folder() -> Path:
    """Where published files are looked for: `$ASYM_JAX_WEIGHTS`, by default `~/.cache/asym_jax`."""
    return Path(os.environ.get("ASYM_JAX_WEIGHTS") or "~/.cache/asym_jax").expanduser()


def part_of(target: Path) -> Path:
    """Where a file lies while it is not complete."""
    return target.with_name(f"{target.name}.part")


def read_manifest(folder: Path) -> dict[str, Record]:
    """What is recorded of the files in `folder`, by name; empty where there is no manifest.

    Raises:
        InputError: there is one, and it is damaged.
    """
    path = folder / MANIFEST
    try:
        return {name: Record(**record) for name, record in json.loads(path.read_text(encoding="utf-8"))["files"].items()}
    except FileNotFoundError:
        return {}
    except Exception as error:  # damaged JSON has many shapes
        raise InputError(
            f"{path} is damaged ({type(error).__name__}: {error}); delete it: files whose hash is published are checked without it"
        ) from error


def write_record(folder: Path, name: str, record: Record) -> None:
    """Adds one file to the manifest, which is replaced as a whole. Raises OSError if it cannot be written."""
    with _alone_in(folder):
        records = {**read_manifest(folder), name: record}
        content = {"files": {name: records[name]._asdict() for name in sorted(records)}}
        new = folder / f".{MANIFEST}.new"
        new.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        new.replace(folder / MANIFEST)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Two programs that add to the manifest at once would lose one of the records."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def check_file(file: PublishedFile, folder: Path, record: Record | None) -> Finding:
    """Compares one file with what is published or, where nothing is, with what was recorded when it came.

    Raises:
        InputError: the file is there and cannot be read.
    """
    path = folder / file.name
    part = part_of(path)
    received = f"{part.stat().st_size:,} bytes of it in {part.name}; fetch goes on from there" if part.is_file() else ""
    if not path.exists():
        return Finding(file.name, State.PARTIAL if received else State.MISSING, received)
    size, sha256, origin = _expected(file, record)
    try:
        found_size = path.stat().st_size
        if size is not None and found_size != size:
            return Finding(file.name, State.WRONG, f"expected {size:,} bytes, found {found_size:,}")
        if sha256 is None:
            return Finding(file.name, State.UNVERIFIED, "no hash of it is known")
        with path.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if found != sha256:
        return Finding(file.name, State.WRONG, f"expected SHA-256 {sha256} ({origin}), found {found}")
    return Finding(file.name, State.OK, f"SHA-256 {origin}")


def _expected(file: PublishedFile, record: Record | None) -> tuple[int | None, str | None, str]:
    if file.sha256 is not None or record is None:
        return file.bytes, file.sha256, Origin.PUBLISHED
    return record.bytes, record.sha256, record.hash_from


def verify(folder: Path) -> list[Finding]:
    """Checks every file of the table and of the manifest; other files in `folder` are ignored.

    Raises:
        InputError: the manifest is damaged, or a file cannot be read.
    """
    records = read_manifest(folder)
    files = {file.name: file for entry in PUBLISHED for file in entry.files}
    for name, record in records.items():  # of a version of the package with another table
        files.setdefault(name, PublishedFile(name, record.url, record.bytes, None))
    return [check_file(file, folder, records.get(name)) for name, file in files.items()]

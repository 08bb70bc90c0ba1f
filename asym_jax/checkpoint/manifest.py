"""Whether a checkpoint is still what was written: sizes and CRC-32 of all its files, noted once the save is known to be finished.

Orbax finds most damage when it loads, but not all of it: a changed bit in a data
file becomes a changed weight, and metadata that cannot be read becomes empty.
One thread checks some 3 GB a second, from files that are read next anyway.
"""

import json
import zlib
from pathlib import Path

NAME = "manifest.json"
CHUNK = 1 << 22


def write_manifest(folder: Path) -> None:
    """Notes the size and CRC-32 of every file in `folder`, through a temporary name; the files must not change any more."""
    files = {str(path.relative_to(folder)): [path.stat().st_size, _checksum(path)] for path in _files(folder)}
    temporary = folder / f".{NAME}.tmp"
    temporary.write_text(json.dumps({"files": files}) + "\n")
    temporary.replace(folder / NAME)


def has_manifest(folder: Path) -> bool:
    """False for a checkpoint whose writer was killed just after the save, or which another version wrote."""
    return (folder / NAME).exists()


def flaw(folder: Path) -> str | None:
    """What is wrong with the files of a checkpoint that has a manifest, in a few words; None if nothing is."""
    try:
        files = json.loads((folder / NAME).read_text())["files"]
        for name, (size, checksum) in sorted(files.items()):
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != size:
                return f"{name} has {path.stat().st_size} of {size} bytes"
            if _checksum(path) != checksum:
                return f"{name} is not what was written"
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"{NAME} cannot be read"
    except OSError as error:
        return f"{error.filename or NAME} cannot be read ({error.strerror or error})"
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (NAME, f".{NAME}.tmp"))


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return checksum

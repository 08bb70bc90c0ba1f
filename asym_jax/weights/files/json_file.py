"""JSON that came from elsewhere: configs, indices and the headers of files."""

import json
from pathlib import Path
from typing import Any

from asym_jax.errors import InputError


def read_json(path: Path, *, largest: int) -> Any:
    """The content of a JSON file of at most `largest` bytes.

    Raises:
        InputError: it is no regular file, is larger, or is no JSON (see `parse_json`).
    """
    try:
        if not path.is_file():  # a pipe or a device has no size, and perhaps no end
            raise InputError(f"{path} is no file")
        with path.open("rb") as file:
            text = file.read(largest + 1)
        if len(text) > largest:
            raise InputError(f"{path} has more than {largest:,} bytes, too many for what it should be")
        return parse_json(text)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not readable as JSON: {str(error)[:200]}") from error


def parse_json(text: str | bytes) -> Any:
    """The value that `text` stands for.

    Raises:
        ValueError: it is no JSON, or an object in it has two entries of one name, so that readers may disagree on it.
        RecursionError: it is nested without end.
    """
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"it holds {name[:80]!r} twice")
        found[name] = value
    return found

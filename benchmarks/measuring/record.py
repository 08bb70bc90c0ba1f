"""One JSON file per benchmark and machine; each setting is a case in it, and replaces the one measured before."""

import json
import os
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"


def write_case(path: Path, benchmark: str, case: str, content: dict[str, Any]) -> None:
    """Puts `content` under `case` and leaves the others as they are. Raises ValueError if the file is another benchmark's."""
    record = {"benchmark": benchmark, "cases": {}}
    if path.exists():
        record = json.loads(path.read_text())
        if record.get("benchmark") != benchmark:
            raise ValueError(f"{path} holds the benchmark {record.get('benchmark')!r}, not {benchmark!r}; name another file")
    record["cases"][case] = content
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(rounded(record), indent=2) + "\n")
    os.replace(unfinished, path)


def rounded(value: Any) -> Any:
    """With five digits, which is more than any clock gives."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list | tuple) else value

"""`python train.py` in a process of its own, to be killed and looked at."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from asym_jax.config import TrainConfig

REPOSITORY = Path(__file__).parents[2]
TIMING = {"images_per_second", "data/waiting", "evaluation_seconds"}
TEMPORARY = ".orbax-checkpoint-tmp"
CACHED = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}


class Training:
    """A process that trains, and everything it says."""

    def __init__(
        self,
        config: TrainConfig,
        root: Path,
        *arguments: str,
        cache: Path | None = None,
        program: str = "train.py",
        hindrance: str = "",
        devices: int = 1,
        beside: Path | None = None,
    ) -> None:
        beside = beside or root.parent  # where its settings and its words go
        beside.mkdir(parents=True, exist_ok=True)
        preset, self._said = beside / f"{root.name}.py", beside / f"{root.name}{''.join(arguments[-1:])}.txt"
        preset.write_text(f"from asym_jax.config import TrainConfig\n\nconfig = TrainConfig(**{config.model_dump()!r})\n")
        self.root, self._offset = root, self._said.stat().st_size if self._said.exists() else 0
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(devices),
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUNBUFFERED": "1",
            "HINDRANCE": hindrance,
        }
        if cache:
            environment |= CACHED | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
        with self._said.open("ab") as said:
            command = [sys.executable, program, "--config", str(preset), "--workdir", str(root), *arguments]
            self.process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=said, stderr=subprocess.STDOUT)

    def __enter__(self) -> "Training":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def said(self) -> str:
        """Both streams of this process so far."""
        return self._said.read_bytes()[self._offset :].decode()

    def until(self, condition: Callable[[], object], seconds: float = 900, pause: float = 0.0) -> None:
        """Waits; fails if the process ends first."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(pause)

    def until_it_says(self, words: str) -> None:
        self.until(lambda: words in self.said, pause=0.01)

    def ends_with(self, status: int, seconds: float = 900) -> str:
        """Waits for the end; returns what was said."""
        assert self.process.wait(seconds) == status, self.said
        assert "Traceback" not in self.said, self.said
        return self.said

    @property
    def resumed_from(self) -> int:
        """The step it went on from; 0 for a fresh start."""
        found = re.search(r"going on from step (\d+)", self.said)
        return int(found[1]) if found else 0


def records(root: Path) -> list[dict[str, float]]:
    """metrics.jsonl without what depends on the clock, and without a half-written last line."""
    path = root / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    lines = map(json.loads, text[: text.rfind("\n") + 1].splitlines())
    return [{name: value for name, value in line.items() if name not in TIMING} for line in lines]


def last_record(root: Path) -> int:
    return max((record["step"] for record in records(root)), default=0)


def decoder(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "decoder").iterdir()}


def sheets(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "samples").iterdir()}


def in_a_save(root: Path) -> bool:
    """Whether a checkpoint is being written, or was when the process died."""
    try:
        return any(TEMPORARY in name for name in os.listdir(root / "checkpoints"))
    except FileNotFoundError:
        return False


def whole_checkpoints(root: Path) -> list[int]:
    """Those that Orbax has finished."""
    try:
        return sorted(int(name) for name in os.listdir(root / "checkpoints") if name.isdecimal())
    except FileNotFoundError:
        return []

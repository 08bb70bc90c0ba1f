"""The folder of a run: what lies in it, and when a run may have it."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from asym_jax.config import TrainConfig
from asym_jax.errors import InputError
from asym_jax.training.inputs import require_same
from asym_jax.training.lock import Lock

FOLDERS = ("samples", "checkpoints", "diagnosis", "decoder", "profile", "latents")
OWN = (
    "config.json",
    "inputs.json",
    "metrics.jsonl",
    "held_out.txt",
    "events.out.tfevents.*",
    "run.lock",
    ".config.json.tmp",  # left by a crash, as the other hidden ones
    ".inputs.json.tmp",
    ".metrics.jsonl.tmp",
    ".decoder.*",
    "samples/step_*.png",
    "samples/.step_*.png.tmp",
    "checkpoints/[0-9]*",
    "checkpoints/damaged_*",
    "diagnosis/step_*",
    "decoder/README.md",
    "profile/plugins",
    "latents/cache_*",
    "decoder/config.json",
    "decoder/diffusion_pytorch_model.safetensors",
)
"""Everything that a run writes, in `FOLDERS` and beside them; `--fresh` deletes these and nothing else."""


FREE = re.compile(
    r"sharding\.|optim\.accumulate$|model\.(remat|norm)$|data\.(threads|workers|cache_folder)$|log\.|checkpoint\.(?!keep_best$)"
)
"""Settings with which a run may go on whatever they were before: they say how to compute, save and report, not what.

Not `checkpoint.keep_best`: checkpoints that are there carry the score that was asked for, and whether another one is measured
is only known at the first evaluation. `config.json` stays as the run began.
"""

UNBORN = {"run.lock", ".config.json.tmp", "inputs.json", ".inputs.json.tmp"}
"""What a run leaves that was killed before it had written its config."""


class Workdir:
    """Paths inside the folder of a run."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.config = self.root / "config.json"
        self.inputs = self.root / "inputs.json"
        self.metrics = self.root / "metrics.jsonl"
        self.held_out = self.root / "held_out.txt"
        self.samples = self.root / "samples"
        self.checkpoints = self.root / "checkpoints"
        self.diagnosis = self.root / "diagnosis"
        self.decoder = self.root / "decoder"
        self.profile = self.root / "profile"
        self.latents = self.root / "latents"
        self.lock = self.root / "run.lock"
        self.held: Lock | None = None

    def __enter__(self) -> "Workdir":
        return self

    def __exit__(self, *_: object) -> None:
        """Lets another run have the folder."""
        if self.held:
            self.held.release()


def open_workdir(root: Path, config: TrainConfig, inputs: dict[str, str] | None = None, *, fresh: bool) -> Workdir:
    """Claims `root` for a run of `config` and `inputs` (see `identify`): a new folder, or one where a run of the same stopped.

    With `fresh`, an earlier run's files are deleted first. The folder stays locked until the result is left as a context.

    Raises:
        InputError: the folder belongs to a run of another config or of other inputs, or to one that is still going on, or holds
            files that no run wrote.
    """
    try:
        return _claimed(Workdir(root), root, config, inputs, fresh=fresh)
    except OSError as error:
        raise InputError(f"--workdir {root} cannot be looked into: {error.strerror or error}") from error


def _claimed(workdir: Workdir, root: Path, config: TrainConfig, inputs: dict[str, str] | None, *, fresh: bool) -> Workdir:
    if root.exists() and not root.is_dir():
        raise InputError(f"--workdir {root} is a file, not a folder")
    if fresh and root.exists():
        _clear(workdir)
    if workdir.config.exists():
        _require_same(config, workdir.config)
        if inputs:
            require_same(inputs, workdir.inputs)
        return _locked(workdir)
    strangers = sorted({path.name for path in root.iterdir()} - UNBORN) if root.exists() else []
    if strangers:
        raise InputError(
            f"--workdir {root} is not empty and holds no config.json of a run: {_some(strangers)}. Choose another folder."
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        _locked(workdir)
        if inputs:
            write_json(workdir.inputs, inputs)
        # Last: with it a run is born.
        write_json(workdir.config, config.model_dump(mode="json"))
    except OSError as error:
        raise InputError(f"--workdir {root} cannot be written: {error.strerror or error}") from error
    return workdir


def write_json(path: Path, value: Any) -> None:
    """Writes through a temporary name: readers meet the old file or the new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value, indent=2) + "\n")
    temporary.replace(path)


def _locked(workdir: Workdir) -> Workdir:
    try:
        workdir.held = workdir.held or Lock(workdir.lock)
    except OSError as error:
        raise InputError(f"--workdir {workdir.root} cannot be written: {error.strerror or error}") from error
    return workdir


def _clear(workdir: Workdir) -> None:
    root = workdir.root
    folders = [root / name for name in FOLDERS if (root / name).is_dir() and not (root / name).is_symlink()]
    present = {path for folder in (root, *folders) for path in folder.iterdir()} - {*folders, workdir.lock}
    own = {path for pattern in OWN for path in root.glob(pattern)} - {workdir.lock}
    strangers = sorted(str(path.relative_to(root)) for path in present - own)
    if strangers:
        raise InputError(f"--fresh deletes only what a run wrote, and {root} also holds {_some(strangers)}. Move these away first.")
    if present and not _belongs_to_a_run(workdir.config):
        raise InputError(f"--fresh deletes only what a run wrote, and {root} holds no config.json of a run. Choose another folder.")
    if present:
        _locked(workdir)
    try:
        for path in sorted(own - {workdir.config}) + folders:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        # Last: while anything else is left, the folder is known to be a run's.
        workdir.config.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"--fresh: {root} cannot be cleared: {error}") from error


def _belongs_to_a_run(config: Path) -> bool:
    """False if another program wrote it, or if it is not there; a damaged one counts as ours."""
    try:
        return {"model", "optim", "data"} <= _read_object(config).keys()
    except ValueError:
        return True
    except OSError:
        return False


def _require_same(config: TrainConfig, path: Path) -> None:
    try:
        there = _leaves(_read_object(path))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as the config of a run ({error}); --fresh starts over") from error
    here = _leaves(config.model_dump(mode="json"))
    differences = [
        f"  {name}: {there.get(name, 'absent')} there, {here.get(name, 'absent')} asked for"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name) and not FREE.match(name)
    ]
    if differences:
        raise InputError(
            f"{path.parent} holds a run with another config:\n"
            + "\n".join(differences)
            + "\nGive the same settings to go on with it, another --workdir, or --fresh to delete it and start over."
        )


def _read_object(path: Path) -> dict[str, Any]:
    values = json.loads(path.read_text())
    if not isinstance(values, dict):
        raise ValueError("it holds no JSON object")
    return values


def _leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"optim.steps": 5, ...} of a nested dict."""
    flat = {}
    for name, value in tree.items():
        flat |= _leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

"""What the programs share: presets, the command line, and how errors are shown."""

import argparse
import atexit
import contextlib
import os
import runpy
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import tyro

from asym_jax.config import TrainConfig
from asym_jax.errors import CannotSave, Diverged, InputError, Interrupted, OutOfPictures

LARGEST_SEED = 2**31 - 1


class TrainCommand(NamedTuple):
    """What `train.py` was asked to do."""

    config: TrainConfig
    workdir: Path
    fresh: bool
    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None
    profile: range | None = None


def parse_train(arguments: Sequence[str], presets: Path, description: str) -> TrainCommand:
    """Reads `--config NAME|FILE.py [--workdir DIR] [--fresh] [--profile START:STOP] [--section.field VALUE ...]`.

    Raises:
        InputError: the preset is missing or broken.
        SystemExit: status 2 after a message on a bad setting, 0 after `--help`.
    """
    names = ", ".join(preset_names(presets))
    parser = argparse.ArgumentParser(
        prog="train.py", description=description, add_help=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", metavar="NAME|FILE.py", help=f"a preset ({names}) or a file that defines `config`")
    parser.add_argument("--workdir", type=local_folder, metavar="DIR", help="folder of the run; default runs/NAME")
    parser.add_argument("--fresh", action="store_true", help="delete what an earlier run wrote there, and start over")
    parser.add_argument("--profile", metavar="START:STOP", help="trace the updates from START to before STOP, the first being 0")
    several = parser.add_argument_group("several processes", "only where SLURM, Open MPI, a TPU pod or Kubernetes do not tell")
    several.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 runs, and a free port there")
    several.add_argument("--processes", type=positive, metavar="N", help="how many there are; 1 ignores the surroundings")
    several.add_argument("--process", type=number, metavar="I", help="which this one is, from 0")
    # Without abbreviations, or --log would swallow --log.every.
    parser.allow_abbrev = False
    known, settings = parser.parse_known_args(arguments)
    asks_for_help = bool({"-h", "--help"} & set(settings))
    if asks_for_help:
        parser.print_help()
        print(f"\nsettings, with the values of {known.config or 'the base model'}:")
    elif known.config is None:
        raise InputError(f"--config is missing; give one of {names}, or a file that defines `config`")
    default = load_preset(known.config, presets) if known.config else TrainConfig()
    config = tyro.cli(TrainConfig, default=default, args=settings, prog="train.py")
    name = Path(known.config).stem
    workdir = known.workdir or Path("runs") / name
    return TrainCommand(config, workdir, known.fresh, known.coordinator, known.processes, known.process, _updates(known.profile))


def preset_names(presets: Path) -> list[str]:
    """The presets in a folder, sorted."""
    return sorted(path.stem for path in presets.glob("*.py"))


def load_preset(name: str, presets: Path) -> TrainConfig:
    """The `config` of a preset, or of a Python file. Raises InputError if there is none."""
    path = Path(name) if name.endswith(".py") else presets / f"{name}.py"
    if not path.is_file():
        raise InputError(f"--config {name}: there is no {path}. Presets: {', '.join(preset_names(presets))}.")
    try:
        config = runpy.run_path(str(path)).get("config")
    except Exception as error:
        raise InputError(f"--config {name}: {path} fails with {type(error).__name__}: {error}") from error
    if not isinstance(config, TrainConfig):
        raise InputError(f"--config {name}: {path} must define `config`, an asym_jax.config.TrainConfig")
    return config


def _updates(text: str | None) -> range | None:
    """The updates that `--profile START:STOP` names. Raises InputError if there are none."""
    if text is None:
        return None
    start, _, stop = text.partition(":")
    if not (start.isdecimal() and stop.isdecimal() and int(start) < int(stop)):
        raise InputError(f"--profile {text}: expected START:STOP, two whole numbers of which the first is smaller, as in 20:25")
    return range(int(start), int(stop))


def local_folder(text: str) -> Path:
    """An argument that is a folder. Raises ArgumentTypeError for a bucket's address, of which a folder `gs:` would be made here."""
    if "://" in text:
        why = "runs need a file system; mount the bucket (gcsfuse) and give that path"
        raise argparse.ArgumentTypeError(f"{text} is no folder: {why}")
    return Path(text)


def number(text: str) -> int:
    """An argument that is a whole number from 0. Raises ArgumentTypeError otherwise."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}")
    return int(text)


def positive(text: str) -> int:
    """An argument that is a whole number from 1. Raises ArgumentTypeError otherwise."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def seed(text: str) -> int:
    """An argument that random numbers follow from. Raises ArgumentTypeError unless JAX can take it, as 32 bits with a sign."""
    value = number(text)
    if value > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"must be at most {LARGEST_SEED}, not {text}")
    return value


@contextlib.contextmanager
def report_errors(after_interrupt: str = "the same command goes on from the newest checkpoint") -> Iterator[None]:
    """Ends the program on an error that the user can mend: one message on stderr.

    Status 2 for bad input, 1 for a run that diverged, could not be saved or had no more pictures, 130 for Ctrl-C, 143 for SIGTERM.
    `ASYM_JAX_TRACEBACK=1` shows where the error came from.
    """
    try:
        yield
    except (InputError, Diverged, CannotSave, OutOfPictures) as error:
        if os.environ.get("ASYM_JAX_TRACEBACK") == "1":
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        _end(2 if isinstance(error, InputError) else 1, at_once=isinstance(error, CannotSave))
    except Interrupted as error:
        print(f"\n{error}", file=sys.stderr)
        _end(error.status, at_once=error.at_once)
    except KeyboardInterrupt:
        print(f"\ninterrupted; {after_interrupt}", file=sys.stderr)
        _end(130)
    if _held_by_a_failed_save():
        atexit._run_exitfuncs()  # other processes of the run are told that this one has ended well
        _leave(0)


def _end(status: int, *, at_once: bool = False) -> NoReturn:
    if at_once or _held_by_a_failed_save():
        _leave(status)
    sys.exit(status)


def _held_by_a_failed_save() -> bool:
    """Whether threads are left that wait for what a save gave up half-way, and will for up to ten minutes."""
    return any(type(thread).__module__.startswith("orbax.") for thread in threading.enumerate())


def _leave(status: int) -> NoReturn:
    """Ends the process without waiting for threads: a compiler, or a save that failed, may hold them for minutes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

"""What the programs' command lines have in common."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.measuring.agreement import Disagreement
from benchmarks.measuring.machine import slug
from benchmarks.measuring.race import OURS, Contest, Entrant, race
from benchmarks.measuring.record import RESULTS, write_case
from benchmarks.measuring.table import table
from benchmarks.measuring.workers import PeerFailed

TORCH_PEERS = {
    "torch": "{}, eager, channels first",
    "torch channels last": "the same, channels last",
    "torch compiled": "the same through torch.compile (on a GPU: max-autotune)",
}
"""Of a program that goes forward only."""


def torch_peers(what: str) -> dict[str, str]:
    return {name: text.format(what) for name, text in TORCH_PEERS.items()}


def parser(description: str | None, peers: dict[str, str]) -> argparse.ArgumentParser:
    """With the options that all have; `peers` are names and what they are."""
    listed = "\n".join(f"  {name:22}{text}" for name, text in peers.items())
    made = argparse.ArgumentParser(
        description=description, epilog=f"peers:\n{listed}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--rounds", type=int, default=7, help="measurements of each peer (default 7)")
    made.add_argument("--peers", nargs="*", metavar="PEER", help="beside ours, with _ for spaces (default: all not marked *)")
    made.add_argument("--devices", type=int, default=1, help="of ours, each with a whole batch; peers have one (default 1)")
    made.add_argument("--exact", action="store_true", help="float32 products keep all bits on a GPU too, for everyone")
    made.add_argument("--output", metavar="NAME", help="results/BENCHMARK-NAME.json (default: the kind of device); - writes none")
    return made


def add_forward_options(made: argparse.ArgumentParser, *, size: int) -> None:
    """Of programs that go forward only."""
    made.add_argument("--size", nargs="+", type=int, default=[size], help=f"sides of the pictures in pixels (default {size})")
    made.add_argument("--batch", type=int, default=1, help="pictures at once (default 1)")
    made.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    made.add_argument("--compile-mode", help="of torch.compile (default: max-autotune on a GPU, default on a CPU)")


def wanted(given: list[str] | None, known: dict[str, str]) -> list[str]:
    """The peers that were asked for. Ends the program if there is none of that name."""
    if given is None:
        return [name for name, text in known.items() if not text.startswith("*")]
    names = [name.replace("_", " ") for name in given]
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"error: no peer is called {unknown[0]!r}; there are {', '.join(map(repr, known))}")
    return names


def forward_entrants(ours: str, torch: str, names: list[str], compile_mode: str | None) -> list[Entrant]:
    """Ours, and those peers of `TORCH_PEERS` that take part; `ours` and `torch` build them, as `Worker` wants it."""
    everyone = [
        Entrant("torch", torch, (False, None)),
        Entrant("torch channels last", torch, (True, None)),
        Entrant("torch compiled", torch, (True, compile_mode or "automatic")),
    ]
    return [Entrant(OURS, ours, torch=False), *(one for one in everyone if one.name in names)]


def run(contests: Callable[[Path], Iterator[Contest]], settings: argparse.Namespace) -> None:
    """Holds the contests, prints a table of each, and writes it down before the next one begins."""
    # So that both frameworks fit on one GPU; workers inherit it.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    with tempfile.TemporaryDirectory() as temporary:
        for contest in contests(Path(temporary)):
            case = contest.case
            print(f"\n## {case.benchmark} {case.key}", flush=True)
            try:
                content = race(contest, settings.rounds)
            except (Disagreement, PeerFailed) as error:
                sys.exit(f"error: {case.benchmark} {case.key}: {error}")
            print(table(content), flush=True)
            if settings.output != "-":
                name = settings.output or slug(content["machine"]["device"])
                write_case(RESULTS / f"{case.benchmark}-{name}.json", case.benchmark, case.key, content)

"""One comparison from beginning to end: build, compare results, take turns, sum up."""

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from benchmarks.measuring import limits
from benchmarks.measuring.agreement import Bound, Disagreement, Results, agreed, compare
from benchmarks.measuring.machine import description, versions
from benchmarks.measuring.rounds import Sample, in_turn, ratios, summary
from benchmarks.measuring.workers import PeerFailed, Worker
from benchmarks.peers.contest import Case

OURS = "ours"


class Entrant(NamedTuple):
    """Someone who takes part."""

    name: str
    build: str  # as `Worker` wants it; receives the case first, then the device if it is PyTorch's
    arguments: tuple[Any, ...] = ()
    torch: bool = True
    operations: float = 0.0  # of one picture, where they differ from those of the case


class Contest(NamedTuple):
    """What is compared."""

    case: Case
    entrants: list[Entrant]  # the first is ours
    operations: float  # of one picture
    bounds: Mapping[str, Bound]  # by precision: float32, tf32, bfloat16
    packages: tuple[str, ...] = ()  # whose versions matter beside the usual ones


Field = dict[str, Worker]
"""Those who are still in the race, ours first."""


def race(contest: Contest, rounds: int) -> dict[str, Any]:
    """Everything worth writing down.

    Raises:
        PeerFailed: ours could not be built, or not run. Peers that fail are listed under `missing` instead.
        Disagreement: our results are too far from the first peer's in float32.
    """
    case = contest.case
    with contextlib.ExitStack() as stack:
        field, missing, device = _gather(contest, stack)
        platform = _platform(device)
        theirs = [one.name for one in contest.entrants if one.torch]
        wanted = _exact(field, theirs, missing)
        facts = _prepare(field, theirs, missing)
        precision = case.dtype if case.dtype != "float32" or case.exact or platform == "cpu" else "tf32"
        check = _check(field, wanted, contest.bounds[precision], case.pictures)
        peaks = {name: field[name].call("peak") for name in (OURS, *[name for name in theirs if name in field][:1])}
        turns = {name: functools.partial(_turn, worker, name in theirs) for name, worker in field.items()}
        timings = in_turn(turns, rounds, wait=platform == "cpu")
        peers = {}
        for name, worker in field.items():
            count = case.pictures * (case.devices if name.startswith(OURS) else 1)
            operations = {one.name: one.operations for one in contest.entrants}[name] or contest.operations
            peers[name] = summary(timings.samples[name]) | facts[name] | worker.call("memory")
            peers[name] |= _rates(peers[name], count, operations, max(peaks.values()), count // case.pictures)
    speed = peers[OURS]["pictures_per_second"] / case.devices
    kind = "cpu" if platform == "cpu" else device["kind"]
    return {
        "settings": case._replace(folder=None)._asdict(),
        "machine": description(kind),
        "versions": versions(*contest.packages),
        "rounds": rounds,
        "samples_on_an_idle_machine": timings.quiet,
        "samples_on_a_busy_machine": timings.noisy,
        "gflop_per_picture": contest.operations / 1e9,
        "largest_product_flops": peaks,
        "check": check,
        "peers": peers,
        "ratios": {name: _per_picture(peers[OURS], peer) for name, peer in peers.items() if name != OURS},
        "asked_ratios": limits.asked_ratios(case.what, platform=platform, dtype=case.dtype),
        "limits": limits.shares(case.what, speed, device=kind, dtype=case.dtype),
        "missing": missing,
    }


def _gather(contest: Contest, stack: contextlib.ExitStack) -> tuple[Field, dict[str, str], dict[str, Any]]:
    """Workers with their peers built, why others are not there, and the device that ours runs on."""
    field: Field = {}
    missing: dict[str, str] = {}
    first = contest.entrants[0]
    field[first.name] = stack.enter_context(_worker(first.build, contest.case, *first.arguments))
    field[first.name].ready()
    device = field[first.name].call("device")
    platform = _platform(device)
    for one in contest.entrants[1:]:
        if one.torch and platform not in ("cpu", "gpu"):
            missing[one.name] = f"PyTorch does not run on {platform}"
            continue
        where = ({"cpu": "cpu", "gpu": "cuda"}[platform],) if one.torch else ()
        field[one.name] = stack.enter_context(_worker(one.build, contest.case, *where, *one.arguments))
    for name in list(field)[1:]:
        with _dropping(name, field, missing):
            field[name].ready()
    return field, missing, device


def _exact(field: Field, theirs: list[str], missing: dict[str, str]) -> Results | None:
    """The results in float32 of the first of PyTorch's peers that is there; None without any."""
    for name in theirs:
        if name in field:
            with _dropping(name, field, missing):
                return field[name].call("exact")
    return None


def _prepare(field: Field, theirs: list[str], missing: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Compiles everyone, and lets everyone run once; what they say of it."""
    facts = {}
    for name in list(field):
        with contextlib.nullcontext() if name == OURS else _dropping(name, field, missing):
            facts[name] = field[name].call("prepare")
            if name in theirs:
                field[name].call("release")
    return facts


def _check(field: Field, wanted: Results | None, bound: Bound, pictures: int) -> dict[str, Any]:
    """How far everyone is from the exact results. Raises Disagreement if ours are too far."""
    if wanted is None:
        return {"compared_with": None}
    found = {}
    for name, worker in field.items():
        results = worker.call("result")
        if results:
            found[name] = compare(results, wanted, pictures)
    if not agreed(found[OURS], bound):
        raise Disagreement(f"our results differ from PyTorch's in float32 by more than {bound}: {found[OURS]}")
    return {"compared_with": "PyTorch in float32", "bound": bound._asdict(), "errors": found}


def _turn(worker: Worker, torch: bool, repeats: int) -> Sample:
    sample = worker.sample(repeats)
    if torch:
        worker.call("release")
    return sample


def _rates(row: Mapping[str, float], pictures: int, operations: float, peak: float, devices: int) -> dict[str, float]:
    rate = pictures * operations / row["median"]
    return {
        "pictures": pictures,
        "pictures_per_second": pictures / row["median"],
        "flops": rate,
        "share_of_the_largest_product": rate / (peak * devices),
    }


def _per_picture(ours: Mapping[str, float], peer: Mapping[str, float]) -> dict[str, float]:
    share = ours["pictures"] / peer["pictures"]
    return {name: ratio * share for name, ratio in ratios(ours, peer).items()}


def _platform(device: Mapping[str, Any]) -> str:
    return "gpu" if device["platform"] in ("gpu", "cuda", "rocm") else device["platform"]


@contextlib.contextmanager
def _worker(build: str, *arguments: Any) -> Iterator[Worker]:
    worker = Worker(build, *arguments)
    try:
        yield worker
    finally:
        worker.close()


@contextlib.contextmanager
def _dropping(name: str, field: Field, missing: dict[str, str]) -> Iterator[None]:
    """Who fails inside leaves the race."""
    try:
        yield
    except PeerFailed as failure:
        missing[name] = str(failure)
        field.pop(name).close()

"""A whole comparison among peers that only count, each in a process of its own."""

import pytest

from benchmarks.measuring import race as module
from benchmarks.measuring.agreement import Bound, Disagreement
from benchmarks.measuring.race import OURS, Contest, Entrant, race
from benchmarks.measuring.table import table
from benchmarks.measuring.workers import PeerFailed
from benchmarks.peers.contest import Case

CLERKS = "tests.benchmarks.clerks"
BOUNDS = {"float32": Bound(1e-3, 1e-3)}


def contest(tmp_path, answer: float, *others: Entrant) -> Contest:
    case = Case("decode", "base", 256, 4, "float32", tmp_path)
    return Contest(case, [Entrant(OURS, f"{CLERKS}:ours", (answer, 0.1), torch=False), *others], 30.0, BOUNDS)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("benchmarks.measuring.rounds.PATIENCE", 0.0)


def test_a_race_from_beginning_to_end(tmp_path):
    others = [
        Entrant("torch channels last", f"{CLERKS}:theirs", (1.1, 0.4), operations=60.0),
        Entrant("gone", f"{CLERKS}:absent"),
        Entrant("dead", f"{CLERKS}:dying"),
    ]
    found = race(contest(tmp_path, 1.0005, *others), rounds=2)
    assert found["missing"]["gone"] == "ModuleNotFoundError: No module named 'torch'"
    assert "ended with status 9" in found["missing"]["dead"]
    assert list(found["peers"]) == [OURS, "torch channels last"]
    assert found["ratios"]["torch channels last"]["median"] == pytest.approx(4, rel=0.3)
    ours = found["peers"][OURS]
    # 4 pictures of 30 operations each, in 0.1 s; the largest product did 100 a second.
    assert ours["pictures_per_second"] == pytest.approx(40, rel=0.3)
    assert ours["flops"] == pytest.approx(30 * ours["pictures_per_second"])
    assert ours["share_of_the_largest_product"] == pytest.approx(ours["flops"] / 100)
    assert found["peers"]["torch channels last"]["flops"] == pytest.approx(4 * 60 / 0.4, rel=0.3)
    assert found["check"]["errors"][OURS]["result"]["largest"] == pytest.approx(0.0005)
    assert found["asked_ratios"] == {"torch channels last": 1.8, "torch compiled": 1.7}
    text = table(found)
    assert "ours / torch channels last" in text and "asked for 1.80" in text and "missing: gone" in text


def test_nothing_is_timed_if_results_differ(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "in_turn", None)
    with pytest.raises(Disagreement, match="our results differ"):
        race(contest(tmp_path, 1.002, Entrant("torch", f"{CLERKS}:theirs", (1.0, 0.1))), rounds=1)


def test_without_ours_there_is_no_race(tmp_path):
    with pytest.raises(PeerFailed, match="TypeError"):
        race(Contest(contest(tmp_path, 1.0).case, [Entrant(OURS, f"{CLERKS}:ours", torch=False)], 1.0, BOUNDS), rounds=1)


def test_alone_nothing_is_compared(tmp_path):
    found = race(contest(tmp_path, 1.0), rounds=1)
    assert found["check"] == {"compared_with": None} and found["ratios"] == {}
    assert "not compared" in table(found)

"""What is written down, and how results are compared."""

import json

import numpy as np
import pytest

from benchmarks.measuring.agreement import Bound, Disagreement, agreed, compare
from benchmarks.measuring.limits import asked_ratios, shares
from benchmarks.measuring.record import write_case


def test_cases_live_side_by_side_and_replace_their_like(tmp_path):
    path = tmp_path / "new" / "decode-cpu.json"
    write_case(path, "decode", "base 256", {"median": 1 / 3})
    write_case(path, "decode", "base 512", {"median": 2.0, "quartiles": (1.23456789, 3.0)})
    write_case(path, "decode", "base 256", {"median": 0.5})
    assert json.loads(path.read_text()) == {
        "benchmark": "decode",
        "cases": {"base 256": {"median": 0.5}, "base 512": {"median": 2.0, "quartiles": [1.2346, 3.0]}},
    }
    assert [one.name for one in path.parent.iterdir()] == ["decode-cpu.json"]


def test_another_benchmarks_file_is_left_alone(tmp_path):
    write_case(tmp_path / "one.json", "decode", "a", {})
    with pytest.raises(ValueError, match="holds the benchmark 'decode', not 'step'"):
        write_case(tmp_path / "one.json", "step", "a", {})


def test_differences_are_relative():
    wanted = {"a": np.array([3.0, -4.0]), "b": np.array(2.0)}
    errors = compare({"a": np.array([3.0, -3.0]), "b": np.array(2.5)}, wanted)
    # a: sqrt(1/2) over sqrt(25/2), and 1 over 4.
    assert errors == {
        "a": {"root_mean_square": pytest.approx(0.2), "largest": 0.25},
        "b": {"root_mean_square": 0.25, "largest": 0.25},
    }
    assert agreed(errors, Bound(0.25, 0.25))
    assert not agreed(errors, Bound(0.25, 0.2)) and not agreed(errors, Bound(0.2, 0.25))
    assert not agreed(compare({"a": np.array([3.0, np.nan])}, {"a": wanted["a"]}), Bound(9, 9))


def test_what_cannot_be_compared():
    with pytest.raises(Disagreement, match="zero everywhere"):
        compare({"a": np.zeros(2)}, {"a": np.zeros(2)})
    with pytest.raises(Disagreement, match="shape"):
        compare({"a": np.zeros((2, 3))}, {"a": np.ones((2, 2))})
    # With several devices ours has more pictures.
    assert compare({"a": np.array([1.0, 2.0])}, {"a": np.array([1.0])}, 1)["a"]["largest"] == 0


def test_shares_of_the_roofline_belong_to_one_chip_and_type():
    found = shares("step base 256", 119.5, device="NVIDIA H200", dtype="bfloat16")
    assert found["share_of_the_roofline"] == 0.5 and found["asked"] == 130
    assert shares("step base 256", 119.5, device="NVIDIA A100", dtype="bfloat16") == {}
    assert shares("step base 256", 119.5, device="NVIDIA H200", dtype="float32") == {}
    assert asked_ratios("decode base 512", platform="cpu", dtype="float32")["torch channels last"] == 1.8
    assert asked_ratios("decode base 512", platform="gpu", dtype="float32") == {}

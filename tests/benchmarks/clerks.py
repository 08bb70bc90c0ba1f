"""Peers that only count, for processes that are started in tests."""

import os
import time
from typing import Any

import numpy as np


class Clerk:
    """Gives `answer`, and takes `seconds` for it."""

    def __init__(self, case: Any, answer: float, seconds: float) -> None:
        self.answer, self.seconds = answer, seconds

    def device(self) -> dict[str, Any]:
        return {"platform": "cpu", "kind": "cpu", "count": 1}

    def exact(self) -> dict[str, np.ndarray]:
        return {"result": np.array([1.0, 2.0])}

    def prepare(self) -> dict[str, Any]:
        return {"compile_seconds": 0.5}

    def result(self) -> dict[str, np.ndarray]:
        return {"result": self.answer * np.array([1.0, 2.0])}

    def run(self, repeats: int) -> None:
        time.sleep(repeats * self.seconds)

    def memory(self) -> dict[str, int]:
        return {"peak_main_memory": 1}

    def release(self) -> None:
        pass

    def peak(self) -> float:
        return 100.0


def ours(case: Any, answer: float, seconds: float) -> Clerk:
    return Clerk(case, answer, seconds)


def theirs(case: Any, device: str, answer: float, seconds: float) -> Clerk:
    assert device == "cpu"
    return Clerk(case, answer, seconds)


def absent(case: Any, device: str) -> Clerk:
    raise ModuleNotFoundError("No module named 'torch'")


def dying(case: Any, device: str) -> Clerk:
    os._exit(9)

"""How far results are from each other, and how far they may be."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

Results = Mapping[str, np.ndarray]
"""By name; gradients, losses, pictures."""


class Disagreement(Exception):
    """Results differ by more than they may, so nothing was timed; the message says by how much."""


class Bound(NamedTuple):
    """Both relative to the size of what is compared."""

    root_mean_square: float
    largest: float


def compare(found: Results, wanted: Results, first: int | None = None) -> dict[str, dict[str, float]]:
    """Root mean square and largest difference of each, relative to the same of `wanted`.

    Args:
        first: rows to compare, where `found` has more.

    Raises:
        Disagreement: shapes differ, or there is nothing to compare.
    """
    errors = {}
    for name in sorted(wanted):
        there = np.asarray(wanted[name], np.float64)
        here = np.asarray(found[name], np.float64)
        here = here[:first] if here.ndim and here.shape != there.shape else here
        if here.shape != there.shape:
            raise Disagreement(f"{name} has shape {here.shape}, and the peer's {there.shape}")
        if not there.any():
            raise Disagreement(f"{name} is zero everywhere, so that agreeing would say nothing")
        difference = np.abs(here - there)
        errors[name] = {
            "root_mean_square": float(np.sqrt(np.mean(difference**2) / np.mean(there**2))),
            "largest": float(difference.max() / np.abs(there).max()),
        }
    return errors


def agreed(errors: Mapping[str, Mapping[str, float]], bound: Bound) -> bool:
    """False as well if anything is not a number."""
    return all(one[name] <= limit for one in errors.values() for name, limit in bound._asdict().items())

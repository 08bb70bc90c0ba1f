"""Scores of pictures that are a sum divided by a count; what is common to Pre_error and the seam."""

import dataclasses
import math
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int64

Kind = TypeVar("Kind", bound="Ratios")


@dataclasses.dataclass(frozen=True)
class Ratios:
    """Sums and counts of any number of pictures; lives on the host.

    Attributes:
        sums: integers where pictures are compared as files store them, so that nothing can depend on an order.
        counts: values that were compared; a picture with none does not count.
        per_one: what `sums` of a score of 1 amount to, per value; products with it are exact, those with its inverse are not.
    """

    sums: Int64[np.ndarray, " n"] | Float[np.ndarray, " n"]
    counts: Int64[np.ndarray, " n"]
    per_one: float

    def merge(self: Kind, other: Kind) -> Kind:
        """Both one after the other. Raises ValueError if their units differ."""
        if self.per_one != other.per_one:
            raise ValueError(f"sums in units of 1/{self.per_one} and of 1/{other.per_one} cannot be put together")
        joined = (np.concatenate(pair) for pair in ((self.sums, other.sums), (self.counts, other.counts)))
        return type(self)(*joined, self.per_one)

    @property
    def images(self) -> int:
        """Pictures that count."""
        return int(np.count_nonzero(self.counts))

    @property
    def skipped(self) -> int:
        """Pictures in which there was nothing to compare."""
        return len(self.counts) - self.images

    def per_picture(self) -> Float[np.ndarray, " n"]:
        """Each picture's own score; NaN for one that does not count."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.counts > 0, self.sums / (self.per_one * self.counts), np.nan)

    def pooled(self) -> float | None:
        """Score of all values together; None if there are none."""
        return self.total() / (self.per_one * int(self.counts.sum())) if self.images else None

    def mean_of_ratios(self) -> float | None:
        """Mean of the pictures' own scores, however many values each has; None if no picture counts."""
        pairs = zip(self.sums.tolist(), self.counts.tolist(), strict=True)
        ratios = [total / (self.per_one * count) for total, count in pairs if count]
        return math.fsum(ratios) / self.images if self.images else None

    def total(self) -> float:
        """Of the sums, rounded once, so that the order of the pictures cannot matter."""
        return math.fsum(self.sums.tolist())

"""Averages that stay exact when the last batch is padded."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool

from asym_jax.arrays import PerImage, Scalar


class Mean(NamedTuple):
    """Running average of one number per picture. A pytree, so it may cross `jit`."""

    total: Scalar
    count: Scalar

    @classmethod
    def of(cls, values: PerImage, valid: Bool[Array, " b"]) -> "Mean":
        """Counts only rows marked `valid`; the others may hold anything, even NaN."""
        return cls(jnp.sum(jnp.where(valid, values, 0.0)), jnp.sum(valid, dtype=jnp.float32))

    def merge(self, other: "Mean") -> "Mean":
        return Mean(self.total + other.total, self.count + other.count)

    def result(self) -> float | None:
        """The average, or None if nothing was counted."""
        return float(self.total) / float(self.count) if self.count else None

"""Which checkpoints survive."""

import math
from typing import Any, NamedTuple

from orbax.checkpoint import v1 as ocp

RISING = ("psnr", "ssim")
"""Last words of metrics of which more is better; of every other less is."""


class Keep(NamedTuple):
    """A checkpoint survives if any of these keeps it."""

    newest: int
    best: str = ""  # metric that picks one more
    every: int = 0  # steps; 0 keeps none for its number

    def policy(self) -> Any:
        """The same for Orbax."""
        policies = ocp.training.preservation_policies
        chosen: list[Any] = [policies.LatestN(self.newest)]
        if self.best:
            chosen.append(policies.BestN(get_metric_fn=self.goodness, n=1, keep_checkpoints_without_metrics=False))
        if self.every:
            chosen.append(policies.EveryNSteps(self.every))
        return policies.AnyPreservationPolicy(chosen)

    def goodness(self, scores: dict[str, float]) -> float:
        """More is better; minus infinity if the metric is absent or not a number."""
        value = scores.get(self.best)
        if value is None or math.isnan(value):
            return -math.inf
        return value if self.best.rpartition("/")[2].endswith(RISING) else -value

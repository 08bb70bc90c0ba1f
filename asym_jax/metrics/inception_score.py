"""Inception Score (Salimans et al. 2016, arXiv 1606.03498) as torch-fidelity defines it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

SPLITS = 10
SEED = 2020


class InceptionScore(NamedTuple):
    """Over the splits."""

    mean: float
    deviation: float  # of the population


def inception_score(logits: Float[np.ndarray, "n k"], *, splits: int = SPLITS, seed: int | None = SEED) -> InceptionScore:
    """exp of the mean KL divergence of each picture's classes from those of its split; between 1 and k.

    Args:
        logits: of all 1008 classes, without the bias of the last layer, from pictures
            resized in mode "tf"; in the order of the dataset, which decides the splits.
        seed: of the permutation before the splits are cut; None leaves the order alone.

    Raises:
        ValueError: there are fewer pictures than splits, or a logit is not finite.
    """
    n = len(logits)
    if n < splits:
        raise ValueError(f"{splits} splits need at least as many pictures; there are {n}")
    if not np.isfinite(logits).all():
        raise ValueError("some logits are not finite")
    ordered = logits.astype(np.float64)
    if seed is not None:
        ordered = ordered[np.random.RandomState(seed).permutation(n)]
    shifted = ordered - ordered.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    scores = []
    for i in range(splits):
        part = slice(i * n // splits, (i + 1) * n // splits)
        # A class that no picture of the split could be (its probability is not even the smallest float64) adds nothing.
        mean = p[part].mean(axis=0)
        ratio = log_p[part] - np.log(np.where(mean > 0, mean, 1.0))
        scores.append(np.exp(np.where(p[part] > 0, p[part] * ratio, 0.0).sum(axis=1).mean()))
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))

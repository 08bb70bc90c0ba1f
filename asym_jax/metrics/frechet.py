"""The Fréchet distance between two Gaussians (Dowson & Landau 1982), in float64 on the host.

|m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2). The last term is the sum of the
singular values of A B for any A, B with A'A = S1 and B B' = S2. The usual `sqrtm` is
not used: several releases of SciPy got it wrong, and the latest took its option away.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Samples = Float[np.ndarray, "_ d"]
Covariance = Float[np.ndarray, "d d"]


class Gaussian(NamedTuple):
    """Mean and covariance (divided by n - 1), in float64."""

    mean: Float[np.ndarray, " d"]
    covariance: Covariance


def gaussian(samples: Samples) -> Gaussian:
    """The Gaussian that was fitted to samples. Raises ValueError if there are fewer than two, or one is not finite."""
    centred = _centred(samples)
    return Gaussian(samples.mean(axis=0, dtype=np.float64), centred.T @ centred / (len(samples) - 1))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """The squared distance. Rounding may leave it slightly below 0 for equal ones."""
    root = _symmetric_root(a.covariance)
    eigenvalues = np.linalg.eigvalsh(root @ b.covariance @ root)
    common = np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    return _distance(a.mean, b.mean, np.trace(a.covariance) + np.trace(b.covariance), common)


def frechet_distance_of_samples(a: Samples, b: Samples) -> float:
    """The same between Gaussians fitted to samples, exact also where there are fewer samples than dimensions.

    There the covariances have no inverse, and eigenvalues that should be 0 come out
    as 1e-16, whose roots are not small. The centred samples themselves serve as A and B.

    Raises:
        ValueError: there are fewer than two samples, or one is not finite.
    """
    if min(len(a), len(b)) > a.shape[1]:
        return frechet_distance(gaussian(a), gaussian(b))
    centred = [_centred(samples) / np.sqrt(len(samples) - 1) for samples in (a, b)]
    traces = sum(float(np.square(part).sum()) for part in centred)
    # More rows than columns are first folded into a square: R of Q R has the same R'R.
    left, right = (np.linalg.qr(part, mode="r") if len(part) > part.shape[1] else part for part in centred)
    common = np.linalg.svd(left @ right.T, compute_uv=False).sum()
    means = (samples.mean(axis=0, dtype=np.float64) for samples in (a, b))
    return _distance(*means, traces, common)


def _distance(a: Float[np.ndarray, " d"], b: Float[np.ndarray, " d"], traces: float, common: float) -> float:
    return float(np.square(a - b).sum() + traces - 2 * common)


def _centred(samples: Samples) -> Samples:
    if len(samples) < 2:
        raise ValueError(f"a covariance needs at least two samples; there are {len(samples)}")
    if not np.isfinite(samples).all():
        broken = np.flatnonzero(~np.isfinite(samples).all(axis=1))
        raise ValueError(f"{len(broken)} samples are not finite, the first is number {broken[0]}")
    return samples - samples.mean(axis=0, dtype=np.float64)


def _symmetric_root(matrix: Covariance) -> Covariance:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T

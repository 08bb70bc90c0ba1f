"""The Fréchet distance against closed forms, pytorch-fid and torch-fidelity."""

import warnings

import numpy as np
import pytest

from asym_jax.metrics.frechet import Gaussian, frechet_distance, frechet_distance_of_samples, gaussian


def random_gaussian(d, seed):
    random = np.random.default_rng(seed)
    factor = random.normal(size=(d, 2 * d))
    return Gaussian(random.normal(size=d), factor @ factor.T / (2 * d))


def test_diagonal_and_commuting_covariances_by_pencil():
    random = np.random.default_rng(0)
    a, b = random.uniform(0, 3, (2, 20))
    means = random.normal(size=(2, 20))
    wanted = np.square(a - b).sum() + np.square(means[0] - means[1]).sum()
    for turn in (np.eye(20), np.linalg.qr(random.normal(size=(20, 20)))[0]):
        given = [Gaussian(mean, turn @ np.diag(s**2) @ turn.T) for mean, s in zip(means, (a, b), strict=True)]
        np.testing.assert_allclose(frechet_distance(*given), wanted, rtol=1e-10)


@pytest.mark.parametrize("d", [64, pytest.param(2048, marks=pytest.mark.slow)])
def test_agrees_with_the_packages(d):
    from tests.models import torch_inception as tools

    theirs = tools.pytorch_fid("fid_score").calculate_frechet_distance
    score = tools.fidelity("metric_fid").fid_statistics_to_metric
    a, b = random_gaussian(d, 1), random_gaussian(d, 2)
    got = frechet_distance(a, b)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # sqrtm's option that SciPy 1.18 takes away
        wanted = theirs(a.mean, a.covariance, b.mean, b.covariance)
    other = score(*({"mu": one.mean, "sigma": one.covariance} for one in (a, b)), verbose=False)["frechet_inception_distance"]
    print(d, got, wanted - got, other - got)
    np.testing.assert_allclose([wanted, other], got, rtol=1e-6)


def test_fitted_gaussians_are_numpys():
    samples = np.random.default_rng(3).normal(2, 1, (50, 7)).astype(np.float32)
    fitted = gaussian(samples)
    wide = samples.astype(np.float64)
    np.testing.assert_allclose(fitted.mean, wide.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(fitted.covariance, np.cov(wide, rowvar=False), rtol=1e-12, atol=1e-14)
    biased = np.cov(wide, rowvar=False, ddof=0)
    assert np.abs(fitted.covariance - biased).max() > 0.01  # divided by n, the check would fail


@pytest.mark.parametrize(("n", "m"), [(12, 12), (12, 300), (300, 12), (40, 41), (300, 200)])
def test_samples_agree_with_the_covariances(n, m):
    """Also where there are fewer samples than the 40 dimensions; with independent eigenvalues, as torch-fidelity takes them."""
    random = np.random.default_rng(4)
    a, b = random.normal(size=(n, 40)), random.normal(0.3, 1.2, (m, 40))
    first, second = (np.cov(samples, rowvar=False) for samples in (a, b))
    eigenvalues = np.linalg.eigvals(first @ second).astype(complex)
    shift = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    wanted = shift + np.trace(first) + np.trace(second) - 2 * np.sqrt(eigenvalues).real.sum()
    np.testing.assert_allclose(frechet_distance_of_samples(a, b), wanted, rtol=1e-5)
    np.testing.assert_allclose(frechet_distance(gaussian(a), gaussian(b)), wanted, rtol=1e-4)


@pytest.mark.parametrize("n", [10, 200])
def test_symmetry_shift_and_equality(n):
    random = np.random.default_rng(5)
    a, b = random.normal(size=(2, n, 30))
    assert frechet_distance_of_samples(a, b) > 1
    np.testing.assert_allclose(frechet_distance_of_samples(a, b), frechet_distance_of_samples(b, a), rtol=1e-10)
    np.testing.assert_allclose(frechet_distance_of_samples(a, a[::-1]), 0, atol=1e-4)
    moved = a.copy()
    moved[:, 0] += 3
    np.testing.assert_allclose(frechet_distance_of_samples(a, moved), 9, rtol=1e-6)


def test_what_cannot_be_fitted_is_refused():
    good = np.ones((3, 4))
    with pytest.raises(ValueError, match="at least two samples"):
        frechet_distance_of_samples(good, good[:1])
    broken = good.copy()
    broken[1, 2] = np.nan
    with pytest.raises(ValueError, match="1 samples are not finite, the first is number 1"):
        frechet_distance_of_samples(good, broken)


@pytest.mark.slow
def test_few_pictures_in_2048_dimensions():
    random = np.random.default_rng(6)
    a, b = random.normal(size=(600, 2048)).astype(np.float32), random.normal(0.05, 1.1, (500, 2048)).astype(np.float32)
    got = frechet_distance_of_samples(a, b)
    print(got, frechet_distance(gaussian(a), gaussian(b)) - got)
    np.testing.assert_allclose(frechet_distance(gaussian(a), gaussian(b)), got, rtol=1e-4)
    np.testing.assert_allclose(frechet_distance_of_samples(a, a), 0, atol=1e-4)

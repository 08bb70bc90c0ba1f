import numpy as np
import pytest

from asym_jax.metrics.inception_score import inception_score


@pytest.mark.parametrize("n", [10, 57, 1003])
def test_agrees_with_torch_fidelity(n):
    from tests.models import torch_inception as tools

    theirs = tools.fidelity("metric_isc").isc_features_to_metric
    logits = np.random.default_rng(n).normal(0, 2, (n, 1008)).astype(np.float32)
    wanted = theirs(tools.torch.from_numpy(logits))
    got = inception_score(logits)
    np.testing.assert_allclose(got, [wanted["inception_score_mean"], wanted["inception_score_std"]], rtol=1e-10, atol=1e-12)


def test_extremes_by_pencil():
    np.testing.assert_allclose(inception_score(np.zeros((25, 8), np.float32)), [1, 0], atol=1e-12)  # every class is as likely
    sure = np.tile(1e4 * np.eye(5, dtype=np.float32), (4, 1))  # each of two splits has each class twice
    np.testing.assert_allclose(inception_score(sure, splits=2, seed=None), [5, 0], rtol=1e-12)


def test_the_order_decides_and_is_that_of_the_data_set():
    logits = np.random.default_rng(0).normal(0, 2, (57, 20)).astype(np.float32)
    assert inception_score(logits) != inception_score(logits[::-1])
    halves = [np.concatenate([logits[:28], logits[:28]]), logits[:28]]
    # Two splits of the same pictures score what one split of them does.
    np.testing.assert_allclose(
        inception_score(halves[0], splits=2, seed=None), inception_score(halves[1], splits=1, seed=None), atol=1e-12
    )


def test_what_has_no_score_is_refused():
    with pytest.raises(ValueError, match="10 splits need at least as many pictures; there are 9"):
        inception_score(np.zeros((9, 4), np.float32))
    with pytest.raises(ValueError, match="not finite"):
        inception_score(np.full((10, 4), np.nan, np.float32))

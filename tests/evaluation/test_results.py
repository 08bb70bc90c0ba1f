"""Rows of results.json from a few numbers, by pencil."""

import numpy as np
import pytest

from asym_jax.evaluation.measure import Measures
from asym_jax.evaluation.results import binned_rows, data_hash, per_picture, result_rows
from asym_jax.evaluation.workbook import ORIGINAL

PIXELS = 100
PAIRED = Measures(paired=True, metrics=("lpips", "fid"), mode="tf")


def column(*values: float) -> np.ndarray:
    return np.array(values)


@pytest.fixture
def measured():
    """Three pictures whose holes are 20, 45 and 100 of 100 pixels."""
    ours = {
        "l1": column(0.1, 0.2, 0.6),
        "psnr": column(20, np.inf, 30),
        "ssim": column(0.5, 0.75, 1.0),
        "ssim_lama": column(0.5, 0.5, 0.5),
        "pre_error/sums": np.array([240 * 25, 0, 0]),
        "pre_error/values": np.array([240, 165, 0]),
        "seam/sums": np.array([51, 0, 0]),
        "seam/values": np.array([2, 2, 0]),
        "lpips": column(0.25, 0.5, 0.75),
        "pool3": np.array([[0.0, 0], [2, 0], [4, 0]], np.float32),
    }
    originals = {"pool3": np.array([[0.0, 3], [2, 3], [4, 3]], np.float32)}
    return {"ours": ours, ORIGINAL: originals}


@pytest.fixture
def notes():
    decoded = [
        {
            "pre_error_float/sums": sums,
            "pre_error_float/values": values,
            "pre_error_floor/sums": 0,
            "pre_error_floor/values": values,
        }
        for sums, values in ((2.4, 240), (0.0, 165), (0.0, 0))
    ]
    return [{"pixels": PIXELS, "sha256": sha, "decoded": {"ours": one}} for sha, one in zip("aab", decoded, strict=True)]


def test_a_row(measured, notes):
    (row,) = result_rows(["ours"], measured, notes, PAIRED)
    assert (row["decoder"], row["images"], row["psnr_infinite"], row["pre_error_skipped"]) == ("ours", 3, 1, 1)
    scores = {
        "pre_error": 240 * 25 / 405 * 4 / 255**2,
        "pre_error_mean_of_ratios": 25 / 2 * 4 / 255**2,
        "pre_error_over_all_pixels": 240 * 25 / 900 * 4 / 255**2,
        "pre_error_float": 2.4 / 405,
        "pre_error_floor": 0,
        "seam": 51 / 4 * 2 / 255,
        "psnr": 25,
        "ssim": 0.75,
        "l1": 0.3,
        "lpips": 0.5,
        "fid": 9,  # moved by 3, and spread as the originals are
    }
    for name, value in scores.items():
        assert row[name] == pytest.approx(value, rel=1e-6), name


def test_bins_hold_their_own_pictures(measured, notes):
    bins = binned_rows(["ours"], measured, notes, PAIRED)
    assert list(bins) == ["20-30%", "40-50%", "90-100%"]
    ((small,), (half,), (whole,)) = bins.values()
    assert (small["images"], small["lpips"], small["psnr"]) == (1, 0.25, 20)
    assert (half["pre_error"], half["psnr"], half["psnr_infinite"]) == (0, None, 1)
    assert (whole["pre_error"], whole["seam"], whole["lpips"]) == (None, None, 0.75)
    assert [row["fid"] for row in (small, half, whole)] == [None] * 3  # one picture has no covariance


def test_what_was_not_measured_is_null(measured, notes):
    del measured["ours"]["lpips"], measured["ours"]["pool3"]
    (row,) = result_rows(["ours"], measured, notes, PAIRED)
    assert (row["lpips"], row["fid"]) == (None, None)
    assert "lpips_alex" not in row  # nobody asked for it


def test_pictures_of_several_captions_are_one_reference(measured, notes):
    """FID between three generated pictures and the two that they are captions of."""
    unpaired = Measures(paired=False, metrics=("fid", "inception_score"), mode="tf")
    measured["ours"]["pool3"] = np.array([[0.0, 0], [2, 0], [1, 0]], np.float32)
    (row,) = result_rows(["ours"], measured, notes, unpaired)
    # Variances 1 and 8 around 1 and 2, and 3 apart in the other direction: 1 + 9 + 1 + 8 - 2 sqrt(8).
    assert row == {
        "decoder": "ours",
        "images": 3,
        "fid": pytest.approx(19 - 2 * 8**0.5, rel=1e-6),
        "inception_score": None,
        "inception_score_deviation": None,
    }


def test_every_picture_has_its_scores(measured):
    found = per_picture(["ours"], measured)["ours"]
    np.testing.assert_allclose(found["pre_error"], [25 * 4 / 255**2, 0, np.nan])
    np.testing.assert_allclose(found["seam"], [51 / 2 * 2 / 255, 0, np.nan])
    np.testing.assert_allclose(found["lpips"], [0.25, 0.5, 0.75])


def test_the_hash_of_the_data_depends_on_its_order(notes):
    assert data_hash(notes) == data_hash(list(notes)) != data_hash(notes[::-1])

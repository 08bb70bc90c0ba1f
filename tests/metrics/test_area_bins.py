import numpy as np
import pytest

from asym_jax.metrics.area_bins import BIN_LABELS, area_bins


def test_labels_are_those_of_the_paper():
    assert BIN_LABELS[0] == "0-10%" and BIN_LABELS[4] == "40-50%" and BIN_LABELS[9] == "90-100%" and len(BIN_LABELS) == 10


@pytest.mark.parametrize("side", [10, 256, 300, 510])
def test_edges_belong_to_the_bin_above_them(side):
    """Counted in whole pixels, where nothing is rounded."""
    pixels = side * side
    counts = np.unique(np.clip([k * pixels // 10 + d for k in range(11) for d in (-1, 0, 1)], 0, pixels))
    expected = [min(10 * int(count) // pixels, 9) for count in counts]
    np.testing.assert_array_equal(area_bins(counts / pixels), expected)


def test_agrees_with_lama_away_from_edges():
    areas = np.random.default_rng(0).uniform(size=1000)
    np.testing.assert_array_equal(area_bins(areas), np.searchsorted(np.linspace(0, 1, 11), areas, side="right") - 1)


@pytest.mark.parametrize("area", [-0.1, 1.1, np.nan])
def test_impossible_areas_are_refused(area):
    with pytest.raises(ValueError, match="must be in"):
        area_bins(np.array([0.5, area]))

import numpy as np

from asym_jax.data.synthetic import SyntheticSource


def test_picture_is_a_function_of_seed_and_index():
    source = SyntheticSource(length=100, seed=3)
    first = source[7]
    assert first.shape == (192, 192, 3) and first.dtype == np.uint8
    source[8]
    np.testing.assert_array_equal(SyntheticSource(length=50, seed=3)[7], first)
    assert (SyntheticSource(length=100, seed=4)[7] != first).mean() > 0.1
    assert (source[8] != first).mean() > 0.1


def test_scenes_have_both_calm_areas_and_fine_structure():
    source = SyntheticSource(length=12)
    for i in range(len(source)):
        grey = source[i].mean(axis=2)
        steps = np.abs(np.diff(grey, axis=1))
        assert (steps < 4).mean() > 0.4  # not noise
        assert (steps > 24).mean() > 0.004  # edges, lines, letters

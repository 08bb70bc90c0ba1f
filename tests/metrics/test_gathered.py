"""Rows by number: whatever happens on the way, the columns are those of the data set."""

import numpy as np
import pytest

from asym_jax.errors import InputError
from asym_jax.metrics.gathered import ByIndex

FEATURES = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
SCORES = np.arange(11, dtype=np.int64)


def add(gathered, indices):
    """A batch whose padding holds what must never be seen."""
    indices = np.asarray(indices, np.int32)
    rows = np.where(indices[:, None] >= 0, FEATURES[indices], np.float32(np.nan))
    gathered.add(indices, {"features": rows, "scores": np.where(indices >= 0, SCORES[indices], -(2**40))})


def check(columns):
    assert sorted(columns) == ["features", "scores"]
    np.testing.assert_array_equal(columns["features"], FEATURES)
    np.testing.assert_array_equal(columns["scores"], SCORES)
    assert (columns["features"].dtype, columns["scores"].dtype) == (np.float32, np.int64)


def test_any_order_with_padding_and_repetitions():
    gathered = ByIndex(11)
    for batch in ([7, 2, -1, 10], [2, 2, 0, 1], [9, 8, -1, -1], [3, 4, 5, 6]):
        add(gathered, batch)
    check(gathered.columns())


def test_the_first_row_of_a_picture_stays():
    gathered = ByIndex(2)
    gathered.add(np.array([1, 1, 0]), {"a": np.array([5.0, 6.0, 7.0])})
    gathered.add(np.array([0, 1]), {"a": np.array([8.0, 9.0])})
    np.testing.assert_array_equal(gathered.columns()["a"], [7, 5])


def test_what_is_missing_is_named():
    gathered = ByIndex(30)
    with pytest.raises(ValueError, match=r"30 of 30 pictures were not measured: 0, 1, 2, .*, 9 and 20 more"):
        gathered.columns()
    add(ByIndex(11), [-1, -1])  # a batch of nothing but padding
    gathered = ByIndex(11)
    add(gathered, [0, 1, 2, 3, 5, 6, 7, 8, 9])
    assert gathered.missing() == [4, 10]
    with pytest.raises(ValueError, match=r"2 of 11 pictures were not measured: 4, 10$"):
        gathered.columns()


@pytest.mark.parametrize(
    ("indices", "rows"),
    [
        ([11], {"features": FEATURES[:1], "scores": SCORES[:1]}),
        ([-2], {"features": FEATURES[:1], "scores": SCORES[:1]}),
        ([3], {"features": FEATURES[:1]}),
        ([3], {"features": FEATURES[:1], "scores": SCORES[:1], "more": SCORES[:1]}),
        ([3], {"features": FEATURES[:1, :2], "scores": SCORES[:1]}),
        ([3], {"features": FEATURES[:1].astype(np.float64), "scores": SCORES[:1]}),
        ([3], {"features": FEATURES[:2], "scores": SCORES[:1]}),
    ],
)
def test_wrong_batches_are_refused_and_change_nothing(indices, rows):
    gathered = ByIndex(11)
    add(gathered, [0])
    with pytest.raises(ValueError):
        gathered.add(np.asarray(indices), rows)
    assert gathered.missing() == list(range(1, 11))


def test_two_hosts_together_have_everything():
    hosts = ByIndex(11), ByIndex(11)
    add(hosts[0], [0, 2, 4, 6, 8, 10])
    add(hosts[1], [1, 3, 5, 7, 9, 0])  # wrapped around
    hosts[0].merge(hosts[1])
    check(hosts[0].columns())
    hosts[0].merge(ByIndex(11))
    with pytest.raises(ValueError, match="11 pictures here and 12 there"):
        hosts[0].merge(ByIndex(12))


def test_an_interrupted_evaluation_goes_on(tmp_path):
    path = tmp_path / "gathered.npz"
    first = ByIndex(11)
    add(first, [3, 9, -1])
    first.save(path, stamp="thick_256")
    resumed = ByIndex.load(path, count=11, stamp="thick_256")
    assert resumed.missing() == first.missing()
    add(resumed, [i for i in range(11)])
    check(resumed.columns())
    resumed.save(path, stamp="thick_256")
    check(ByIndex.load(path, count=11, stamp="thick_256").columns())
    assert [entry.name for entry in tmp_path.iterdir()] == ["gathered.npz"]


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "gathered.npz"
    gathered = ByIndex(11)
    add(gathered, [0])
    gathered.save(path, stamp="")
    add(gathered, [1])

    def full(*arguments, **options):
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space left"):
        gathered.save(path, stamp="")
    assert ByIndex.load(path, count=11, stamp="").missing() == list(range(1, 11))
    assert [entry.name for entry in tmp_path.iterdir()] == ["gathered.npz"]


def test_files_that_are_not_about_this_are_refused(tmp_path):
    path = tmp_path / "gathered.npz"
    gathered = ByIndex(11)
    add(gathered, [0])
    gathered.save(path, stamp="round")
    with pytest.raises(InputError, match="other settings .round, and now floor."):
        ByIndex.load(path, count=11, stamp="floor")
    with pytest.raises(InputError, match="not about 12 pictures"):
        ByIndex.load(path, count=12, stamp="round")
    content = path.read_bytes()
    for damaged in (content[:-40], content[:100], b"", b"PK\x03\x04 and no more"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="gathered.npz is no file of gathered results, or is damaged"):
            ByIndex.load(path, count=11, stamp="round")
    np.savez(path, seen=np.array([object()]), stamp=np.zeros(1))  # would need pickle
    with pytest.raises(InputError, match="remove it to start over"):
        ByIndex.load(path, count=11, stamp="round")

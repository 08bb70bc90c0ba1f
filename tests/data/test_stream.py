"""What makes training resumable: batch n is a function of (seed, n) alone."""

import itertools

import numpy as np
import pytest

from asym_jax.data.folder import FolderSource
from asym_jax.data.stream import batches
from asym_jax.errors import InputError


class Numbers:
    """Picture i shows the number i, on a left-to-right ramp that tells crops apart."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.skipped: dict[str, str] = {}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> np.ndarray:
        picture = np.full((64, 64, 3), index, np.uint8)
        picture[..., 1] = 3 * np.arange(64)[None]
        return picture

    def __repr__(self) -> str:
        return f"Numbers({self.length})"

    def name(self, index: int) -> str:
        return str(index)


def take(count, length=12, **changes):
    settings = dict(batch_size=4, image_size=16, crop_scale=(0.25, 0.5), seed=1, threads=2)
    return np.stack(list(itertools.islice(batches(Numbers(length), **settings | changes), count)))


def test_an_epoch_shows_each_picture_once_in_new_order_and_crops():
    stream = take(6)
    assert stream.shape == (6, 4, 16, 16, 3) and stream.dtype == np.uint8
    orders = stream[..., 0, 0, 0].reshape(2, 12)
    assert [sorted(order) for order in orders] == [list(range(12))] * 2
    assert (orders[0] != orders[1]).any()
    first_columns = stream[..., 0, 0, 1].reshape(2, 12)
    crops = [columns[np.argsort(order)] for order, columns in zip(orders, first_columns, strict=True)]
    assert (crops[0] == crops[1]).sum() < 6


def test_start_skips_exactly():
    np.testing.assert_array_equal(take(3, start=5), take(8)[5:])


def test_threads_change_nothing_and_the_seed_everything():
    np.testing.assert_array_equal(take(4, threads=4), take(4, threads=1))
    assert (take(4, seed=2) != take(4)).mean() > 0.3


@pytest.mark.parametrize("start", [0, 2])
def test_processes_share_the_batches_of_one(start):
    shares = [take(5, process_index=i, process_count=2, start=start) for i in range(2)]
    assert shares[0].shape[:2] == (5, 2)
    # Process 0 holds the first rows, process 1 the others: as they lie on the devices, which noise and masks follow.
    np.testing.assert_array_equal(np.concatenate(shares, axis=1), take(5, start=start))


def test_a_source_smaller_than_a_batch_repeats():
    numbers = take(3, length=3, batch_size=8)[..., 0, 0, 0]
    assert np.bincount(numbers.ravel()).tolist() == [8, 8, 8]


def test_uneven_sharing_is_refused():
    with pytest.raises(ValueError, match="3 processes"):
        take(1, process_count=3)


def test_errors_of_reader_threads_arrive_as_they_are(tmp_path):
    stream = batches(FolderSource([tmp_path / "absent.png"]), batch_size=2, image_size=8, crop_scale=(0.5, 1.0), seed=0, threads=2)
    with pytest.raises(InputError, match="none of the 1 pictures"):
        next(stream)
    with pytest.raises(StopIteration):
        next(stream)

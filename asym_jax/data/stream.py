"""The endless stream of training batches; the only module that imports grain."""

import dataclasses
from collections.abc import Iterator

import grain
import numpy as np
from jaxtyping import UInt8

from asym_jax.data.crops import Square, random_crop
from asym_jax.data.pictures import Picture
from asym_jax.data.sources import Source

PREFETCHED_BATCHES = 4
"""Batches read ahead of the training step, at least."""


@dataclasses.dataclass(frozen=True)
class RandomCrop(grain.transforms.RandomMap):
    """`random_crop` as a step of a grain pipeline."""

    size: int
    scale: tuple[float, float]

    def random_map(self, element: Picture, rng: np.random.Generator) -> Square:
        return random_crop(element, size=self.size, scale=self.scale, rng=rng)


class _Rows(grain.MapDataset):
    """Rows `first` to `stop - 1` of every batch: as many devices in a row, so that a batch lies the same way on any hosts."""

    def __init__(self, parent: grain.MapDataset, batch_size: int, first: int, stop: int) -> None:
        super().__init__(parent)
        self._batch_size, self._first, self._share = batch_size, first, stop - first

    def __len__(self) -> int:
        return len(self._parent) // self._batch_size * self._share

    def __getitem__(self, index: int) -> Square:
        return self._parent[index // self._share * self._batch_size + self._first + index % self._share]


def batches(
    source: Source,
    *,
    batch_size: int,
    image_size: int,
    crop_scale: tuple[float, float],
    seed: int,
    threads: int,
    start: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[UInt8[np.ndarray, "b S S 3"]]:
    """This process's share of every batch from number `start` on: `batch_size // process_count` random crops.

    Each epoch visits every picture once, in a new order. The pictures and crops of batch n are a function of
    (seed, n) alone: neither the number of processes nor an earlier stop changes the union of their shares.

    Raises:
        ValueError: the processes cannot share a batch evenly.
        InputError: no picture of the source can be read.
    """
    if batch_size % process_count:
        raise ValueError(f"{process_count} processes cannot share a batch of {batch_size} pictures evenly")
    share = batch_size // process_count
    first = process_index * share
    pictures = grain.MapDataset.source(source).seed(seed).shuffle().repeat(None)
    # Random crops come before the slice: behind it their randomness would follow the position within the process.
    crops = _Rows(pictures.random_map(RandomCrop(image_size, crop_scale)), batch_size, first, first + share)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(threads, PREFETCHED_BATCHES))
    iterator = iter(crops.batch(share, drop_remainder=True).to_iter_dataset(options))
    grain.experimental.set_next_index(iterator, start)
    return iterator

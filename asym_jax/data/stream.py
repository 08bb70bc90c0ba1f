"""The endless stream of training batches."""

import dataclasses
from collections.abc import Iterator

import grain
import numpy as np
from jaxtyping import PyTree, UInt8

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
    crop: grain.transforms.RandomMap | None = None,
) -> Iterator[UInt8[np.ndarray, "b S S 3"] | PyTree]:
    """This process's share of every batch from number `start` on: `batch_size // process_count` random crops.

    Each epoch visits every picture once, in a new order. The pictures and crops of batch n are a function of
    (seed, n) alone: neither the number of processes nor an earlier stop changes the union of their shares.

    With `crop`, a batch is what it makes of elements of the source, in the place of random crops.

    Raises:
        ValueError: the processes cannot share a batch evenly.
        InputError: no picture of the source can be read.
    """
    if batch_size % process_count:
        raise ValueError(f"{process_count} processes cannot share a batch of {batch_size} pictures evenly")
    share = batch_size // process_count
    pictures = grain.MapDataset.source(source).seed(seed).shuffle().repeat(None)
    # Random crops come before the slice: behind it their randomness would follow the position within the process.
    crops = pictures.random_map(crop or RandomCrop(image_size, crop_scale))[process_index::process_count]
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(threads, PREFETCHED_BATCHES))
    iterator = iter(crops.batch(share, drop_remainder=True).to_iter_dataset(options))
    grain.experimental.set_next_index(iterator, start)
    return iterator

"""The endless stream of training batches: which pictures and crops batch n is made of."""

import dataclasses
import functools
import sys
from collections.abc import Sequence

import grain
import numpy as np
from jaxtyping import PyTree

from asym_jax.data.batches import Batches
from asym_jax.data.crops import Square, random_crop
from asym_jax.data.mixture import Mixture
from asym_jax.data.pictures import Picture
from asym_jax.data.source import Source
from asym_jax.data.workers import in_processes

PREFETCHED_BATCHES = 4
"""Batches read ahead of the training step, at least."""


@dataclasses.dataclass(frozen=True)
class RandomCrop(grain.transforms.RandomMap):
    """`random_crop` as a step of a grain pipeline."""

    size: int
    scale: tuple[float, float]

    def random_map(self, element: Picture, rng: np.random.Generator) -> Square:
        return random_crop(element, size=self.size, scale=self.scale, rng=rng)


class Shares(grain.transforms.DatasetSelectionMap):
    """`Mixture.place` as grain wants it, without an end."""

    def __init__(self, mixture: Mixture) -> None:
        self._place = mixture.place

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int) -> tuple[int, int]:
        return self._place(index)


class _Rows(grain.MapDataset):
    """Rows `first` to `stop - 1` of every batch: as many devices in a row, so that a batch lies the same way on any hosts."""

    def __init__(self, parent: grain.MapDataset, batch_size: int, first: int, stop: int) -> None:
        super().__init__(parent)
        self._batch_size, self._first, self._share = batch_size, first, stop - first

    def __len__(self) -> int:
        return len(self._parent) // self._batch_size * self._share

    def __getitem__(self, index: int) -> PyTree:
        return self._parent[index // self._share * self._batch_size + self._first + index % self._share]


def batches(
    source: Source,
    *,
    batch_size: int,
    image_size: int,
    crop_scale: tuple[float, float],
    seed: int,
    threads: int,
    workers: int = 0,
    start: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    crop: grain.transforms.RandomMap | None = None,
) -> Batches:
    """This process's share of every batch from number `start` on: `batch_size // process_count` random crops, (b, S, S, 3).

    Each epoch visits every picture once, in a new order; in a mixture each component has epochs of its own. The
    pictures and crops of batch n are a function of (seed, n) alone: neither the number of processes, threads and
    workers nor an earlier stop changes the union of their shares.

    Args:
        threads: pictures are read and decoded by as many threads,
        workers: spread over as many processes of their own; 0 keeps them in this one.

    With `crop`, a batch is what it makes of elements of the source, in the place of random crops.

    Raises:
        ValueError: the processes cannot share a batch evenly.
        InputError: (by `next`) no picture of the source can be read, or workers keep dying.
    """
    if batch_size % process_count:
        raise ValueError(f"{process_count} processes cannot share a batch of {batch_size} pictures evenly")
    share = batch_size // process_count
    components = source.components if isinstance(source, Mixture) else (source,)
    pictures = _pictures(source, components, seed)
    # Random crops come before the slice: behind it their randomness would follow the position within the process.
    first = process_index * share
    crops = _Rows(pictures.random_map(crop or RandomCrop(image_size, crop_scale)), batch_size, first, first + share)
    batched = crops.batch(share, drop_remainder=True)
    if workers:
        each = max(1, threads // workers)
        options = grain.ReadOptions(num_threads=each, prefetch_buffer_size=max(each, -(-PREFETCHED_BATCHES // workers)))
        return Batches(functools.partial(in_processes, batched, options, components, workers), start)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(threads, PREFETCHED_BATCHES))
    return Batches(lambda first: iter(batched[first:].to_iter_dataset(options)), start)


def _pictures(source: Source, components: Sequence[Source], seed: int) -> grain.MapDataset:
    """Endless shuffled epochs of the source, or of each component of a mixture, whose own orders differ."""
    if not isinstance(source, Mixture):
        return grain.MapDataset.source(source).seed(seed).shuffle().repeat(None)
    seeds = np.random.SeedSequence(seed).generate_state(len(components)).tolist()
    endless = [grain.MapDataset.source(part).seed(own).shuffle().repeat(None) for part, own in zip(components, seeds, strict=True)]
    return grain.MapDataset.select_from_datasets(endless, Shares(source)).seed(seed)

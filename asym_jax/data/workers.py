"""Reading and decoding in processes of their own."""

import gc
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterator, Sequence

import grain
import numpy as np
from absl import flags
from jaxtyping import UInt8

from asym_jax.data.entries import EntrySource
from asym_jax.data.source import Source

NEWS = 8
"""Unreadable pictures reported with one batch, at most. Small messages cross a pipe whole or not at all."""

Batch = UInt8[np.ndarray, "b S S 3"]


class WithNews(grain.transforms.Map):
    """Sends along with each batch which pictures this process found unreadable since the last one."""

    def __init__(self, components: Sequence[Source]) -> None:
        self._components = tuple(components)
        self._told = [len(component.skipped) for component in components]

    def map(self, element: Batch) -> tuple[Batch, tuple[tuple[int, str, str], ...]]:
        news = []
        for i, component in enumerate(self._components):
            fresh = list(dict(component.skipped).items())[self._told[i] :][: NEWS - len(news)]
            self._told[i] += len(fresh)
            news += [(i, name, reason) for name, reason in fresh]
        return element, tuple(news)


def in_processes(
    batched: grain.MapDataset, options: grain.ReadOptions, components: Sequence[Source], workers: int, first: int
) -> Iterator[Batch]:
    """Batches from number `first` on, made by `workers` processes; close it to end them.

    What the processes find unreadable is counted in `components` here.
    """
    if not flags.FLAGS.is_parsed():  # grain asks absl for flags, which only absl's own programs parse
        flags.FLAGS.mark_as_parsed()
    # Semaphores of earlier workers may wait in reference cycles for the garbage collector. If it came while Python
    # registers the new ones, the resource tracker would warn that it cannot do both at once and might leak them.
    gc.collect()
    told = batched[first:].to_iter_dataset(options).map(WithNews(components))
    iterator = iter(
        told.mp_prefetch(grain.multiprocessing.MultiprocessingOptions(workers, per_worker_buffer_size=2), _begin_worker)
    )
    try:
        for batch, news in iterator:
            for i, name, reason in news:
                _count(components[i], name, reason)
            # A copy, because the original lives in shared memory that the next line gives back.
            yield np.array(batch)
            del batch
    finally:
        iterator.close()


def _count(source: Source, name: str, reason: str) -> None:
    if isinstance(source, EntrySource):
        source.skip(name, reason)
    else:
        source.skipped[name] = reason


def _begin_worker(number: int, count: int) -> None:
    """Runs first in each of the processes.

    Signals that end a run are sent to all its processes at once. The run itself decides when it is done, and its
    workers must not be gone before. They go when it goes, even if it is killed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.getLogger(EntrySource.__module__).setLevel(logging.ERROR)  # the run names unreadable pictures, once
    threading.Thread(target=_go_with_parent, daemon=True).start()


def _go_with_parent() -> None:
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)

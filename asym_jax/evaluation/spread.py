"""The same program on every device, each with a fixed number of pictures, so that their number changes no bit of a picture."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from asym_jax.arrays import Params

FILE_THREADS = 8
"""Threads that read and write picture files; Pillow lets others work meanwhile."""

Loaded = TypeVar("Loaded")


class Spread:
    """Runs `function(params, batch) -> values` on all devices, `rows` examples on each at a time.

    Examples go to the devices in blocks of `rows` consecutive indices, the same blocks
    whatever the number of devices and whatever was done before. A partitioner that saw the whole batch could choose
    another order of sums for another number of devices; here each device runs the program of one block.
    """

    def __init__(
        self,
        function: Callable[[Params, PyTree], PyTree],
        params: Params,
        *,
        rows: int,
        devices: Sequence[jax.Device] | None = None,
    ) -> None:
        devices = jax.local_devices() if devices is None else devices
        self.rows, self.devices = rows, len(devices)
        mesh = jax.make_mesh((self.devices,), ("data",), axis_types=(AxisType.Auto,), devices=devices)
        self._rows_place, everywhere = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
        self._params = jax.device_put(params, everywhere)
        self._program = jax.jit(jax.shard_map(function, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data"), check_vma=False))

    def __call__(self, batch: PyTree) -> PyTree:
        """Starts on a batch of `rows * devices` examples (arrays with that first axis); its results are still on the devices."""
        return self._program(self._params, jax.device_put(batch, self._rows_place))

    def batches(self, indices: Iterable[int]) -> Iterator[list[int]]:
        """The blocks that hold `indices`, as many at a time as there are devices, as indices one after the other.

        Blocks are never cut, so some of these indices may be done already, or lie beyond the last example.
        """
        numbers = sorted({index // self.rows for index in indices})
        for start in range(0, len(numbers), self.devices):
            yield [n * self.rows + i for n in numbers[start : start + self.devices] for i in range(self.rows)]

    def stack(self, examples: Sequence[Mapping[str, Any] | None]) -> dict[str, np.ndarray]:
        """The arrays of a batch. Examples that are None, and those that lack to a whole batch, are zeros with `index` -1."""
        model = next(example for example in examples if example is not None)
        blank = {name: np.zeros_like(value) for name, value in model.items()} | {"index": np.int32(-1)}
        rest = [blank] * (self.rows * self.devices - len(examples))
        chosen = [blank if example is None else example for example in examples] + rest
        return {name: np.stack([example[name] for example in chosen]) for name in model}


def read_ahead(batches: Iterable[Sequence[int]], load: Callable[[int], Loaded]) -> Iterator[list[Loaded]]:
    """What `load` gives for the indices of each batch; threads read the next batch meanwhile."""
    ahead: list[Future[Loaded]] = []
    with ThreadPoolExecutor(FILE_THREADS) as pool:
        for indices in batches:
            futures = [pool.submit(load, index) for index in indices]
            if ahead:
                yield [future.result() for future in ahead]
            ahead = futures
        if ahead:
            yield [future.result() for future in ahead]

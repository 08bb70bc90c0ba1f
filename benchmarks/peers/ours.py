"""Our side: a pure function, compiled once and run on one device or several."""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from asym_jax.arrays import Params
from asym_jax.training.costs import costs_of
from asym_jax.training.sharding import DATA, batch_sharding, replicated
from benchmarks.measuring.workers import peak_memory
from benchmarks.peers.contest import Case
from benchmarks.peers.matrices import best_rate


class JaxPeer:
    """`function(params, *inputs)` under one jit: parameters are on all devices, and so is what several samples share.

    Other inputs are of one device, and each device gets the same.
    """

    def __init__(self, case: Case, function: Callable[..., Any], params: Params, inputs: tuple[np.ndarray, ...]) -> None:
        self.case, self.function = case, function
        self.mesh = mesh_of(case)
        everywhere = replicated(self.mesh)
        self.params = jax.device_put(params, everywhere)
        apart = batch_sharding(self.mesh)
        self.inputs = tuple(
            jax.device_put(array, everywhere) if case.samples and len(array) == 1 else jax.device_put(for_each(case, array), apart)
            for array in inputs
        )

    def prepare(self) -> dict[str, Any]:
        """Compiles, and runs once; what compiling took, and what the compiler says."""
        begin = time.perf_counter()
        self.compiled = jax.jit(self.function).lower(self.params, *self.inputs).compile()
        seconds = time.perf_counter() - begin
        self.run(1)
        return facts(self.compiled, seconds)

    def run(self, repeats: int) -> None:
        """Calls it so often, and waits for the last result; the devices work in the order of the calls."""
        for _ in range(repeats):
            result = self.compiled(self.params, *self.inputs)
        jax.block_until_ready(result)

    def result(self) -> dict[str, np.ndarray]:
        """What a call gives, as float32; one without names is the `result`."""
        found = self.compiled(self.params, *self.inputs)
        named = found if isinstance(found, dict) else {"result": found}
        return {name: np.asarray(array, np.float32) for name, array in named.items()}

    def device(self) -> dict[str, Any]:
        return device()

    def memory(self) -> dict[str, int]:
        return memory()

    def peak(self) -> float:
        """FLOP/s of one device in a large matrix product of the type in use."""
        return matrix_rate(self.case)


def for_each(case: Case, batch: np.ndarray) -> np.ndarray:
    """The batch of one device, once for every device."""
    return np.concatenate([batch] * case.devices)


def mesh_of(case: Case) -> Mesh:
    """The first devices of this machine. Raises ValueError if there are too few."""
    set_precision(case)
    devices = jax.devices()
    if case.devices > len(devices):
        raise ValueError(f"--devices {case.devices}, but JAX sees {len(devices)}")
    return jax.make_mesh((case.devices,), (DATA,), axis_types=(AxisType.Auto,), devices=devices[: case.devices])


def set_precision(case: Case) -> None:
    if case.exact:
        jax.config.update("jax_default_matmul_precision", "highest")


def facts(compiled: jax.stages.Compiled, seconds: float) -> dict[str, Any]:
    """What the compiler says of a program, per device."""
    costs = costs_of(compiled)
    return {
        "compile_seconds": seconds,
        "compiler_gflop": costs.flops / 1e9,
        "memory": {"arguments": costs.arguments, "temporaries": costs.temporaries, "outputs": costs.outputs},
    }


def device() -> dict[str, Any]:
    """Which kind JAX uses first, and how many there are."""
    first = jax.devices()[0]
    return {"platform": first.platform, "kind": first.device_kind, "count": jax.device_count()}


def memory() -> dict[str, int]:
    """Peaks so far: bytes of main memory, and of the device's if it tells."""
    peaks = {"peak_main_memory": peak_memory()}
    statistics = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in statistics:
        peaks["peak_device_memory"] = statistics["peak_bytes_in_use"]
    return peaks


def matrix_rate(case: Case) -> float:
    """FLOP/s of one device in a large matrix product of the type in use."""
    multiply = jax.jit(lambda a, b: a @ b)

    def make(side: int) -> Callable[[int], None]:
        a = jax.random.normal(jax.random.key(0), (side, side), case.dtype)
        b = a.T

        def run(repeats: int) -> None:
            for _ in range(repeats):
                result = multiply(a, b)
            result.block_until_ready()

        return run

    return best_rate(make, on_cpu=jax.devices()[0].platform == "cpu")

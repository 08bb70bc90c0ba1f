"""Several processes as one run: who they are, who speaks for them, and how they agree."""

import contextlib
import hashlib
import importlib.util
import os
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from jaxtyping import PyTree

from asym_jax.checkpoint.agreement import of_first
from asym_jax.errors import InputError
from asym_jax.training.cluster import Cluster, find_cluster
from asym_jax.training.sharding import replicated

JOIN_SECONDS = 300
"""How long the processes of a run wait for the last of them to start."""
VISIBLE_SECONDS = 90.0
"""How long a file may take to be seen elsewhere; network file systems remember for up to a minute that there was none."""
LOOK_EVERY = 0.5
"""Seconds between looks."""


def initialise(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Joins the other processes of this run, if there are any; before anything else asks JAX for devices.

    What is not given comes from the environment, as `find_cluster` says.

    Raises:
        InputError: arguments or environment name some of what is needed and not the rest, or the others are not there.
    """
    cluster = find_cluster(
        os.environ,
        coordinator=coordinator,
        processes=processes,
        process=process,
        tpu=_has_tpu(),
        installed=lambda package: importlib.util.find_spec(package) is not None,
    )
    if cluster is None:
        return
    try:
        _join(cluster)
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(
            f"{cluster.found_in}: the processes of this run did not find each other ({error}). "
            "--processes 1 starts this process alone."
        ) from error


def _join(cluster: Cluster) -> None:
    jax.distributed.initialize(
        coordinator_address=cluster.coordinator,
        num_processes=cluster.processes,
        process_id=cluster.process,
        local_device_ids=cluster.local_devices,
        cluster_detection_method=cluster.detection,
        initialization_timeout=JOIN_SECONDS,
    )


def _has_tpu() -> bool:
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if platforms and "tpu" not in platforms.split(","):
        return False
    devices = [*Path("/dev").glob("accel[0-9]*"), *Path("/dev/vfio").glob("[0-9]*")]
    return bool(devices) and importlib.util.find_spec("libtpu") is not None


def is_first() -> bool:
    """Whether this process writes logs, samples and the decoder."""
    return jax.process_index() == 0


@contextlib.contextmanager
def agreed() -> Iterator[None]:
    """What is done inside succeeds on every process, or an InputError ends them all; none goes on before the last has finished.

    Without this, one process whose folder of pictures is not mounted would leave the others waiting for it.
    """
    refusal: InputError | None = None
    try:
        yield
    except InputError as error:
        refusal = error
    if jax.process_count() > 1:
        refused = multihost_utils.process_allgather(np.array(refusal is not None))
        if refusal is None and refused.any():
            others = ", ".join(map(str, np.flatnonzero(refused)))
            raise InputError(f"process {jax.process_index()} ends because of process {others}, whose message says why")
    if refusal is not None:
        raise refusal


def require_shared(path: Path) -> None:
    """Raises InputError where a file that process 0 has just written is not to be seen. Every process must call it, in `agreed`."""
    if jax.process_count() == 1:
        return
    there = of_first(lambda: _content_of(path))
    deadline = time.monotonic() + VISIBLE_SECONDS
    while _content_of(path) != there:
        if time.monotonic() >= deadline:
            raise InputError(
                f"process {jax.process_index()} does not see the {path.name} of process 0: --workdir must be a folder that all "
                f"hosts see, and {path.parent} is another one here"
            )
        time.sleep(LOOK_EVERY)


def _content_of(path: Path) -> str | None:
    """Hash of a file, or None if it is not there."""
    try:
        os.listdir(path.parent)  # has network file systems ask again
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def spread(tree: PyTree, places: PyTree) -> PyTree:
    """Puts arrays, of which every process has the whole, where `places` says."""

    def put(leaf: np.ndarray | np.generic | jax.Array, place: jax.sharding.Sharding) -> jax.Array:
        array = np.asarray(leaf)
        return jax.make_array_from_callback(array.shape, place, lambda index: array[index])

    return jax.tree.map(put, tree, places)


def fetch(tree: PyTree, mesh: Mesh) -> PyTree:
    """The whole of every array on the host, wherever its parts lie; every process must call it.

    Arrays that are spread over processes are gathered one at a time: no device needs room for all of them.
    """
    whole = jax.jit(lambda array: array, out_shardings=replicated(mesh))
    return jax.tree.map(
        lambda leaf: np.asarray(leaf if leaf.is_fully_addressable or leaf.is_fully_replicated else whole(leaf)), tree
    )

"""What the environment says of the other processes of a run: a pure function of it.

JAX finds the rest itself on SLURM, with Open MPI 4, on TPU pods and, with the
package `kubernetes`, in Kubernetes. What is decided here is whether there is
anything to be found, and what JAX 0.10 to 0.12 miss.
"""

import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from asym_jax.errors import InputError

FLAGS = {"coordinator": "--coordinator", "processes": "--processes", "process": "--process"}
VARIABLES = {"coordinator": "JAX_COORDINATOR_ADDRESS", "processes": "JAX_NUM_PROCESSES", "process": "JAX_PROCESS_ID"}
ALONE = "--processes 1 starts this process alone."


class Cluster(NamedTuple):
    """The arguments of `jax.distributed.initialize`; None is left to JAX."""

    found_in: str
    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None
    local_devices: Sequence[int] | None = None
    detection: str | None = None
    """JAX's name of the method that finds what is left to it; `deactivate` if nothing is."""


def find_cluster(
    environment: Mapping[str, str],
    *,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    tpu: bool = False,
    installed: Callable[[str], bool] = lambda package: False,
) -> Cluster | None:
    """The run that this process belongs to, or None if it is alone.

    Looked at in this order: arguments, JAX_COORDINATOR_ADDRESS with JAX_NUM_PROCESSES and JAX_PROCESS_ID, TPU pods, SLURM,
    Open MPI, and indexed jobs of Kubernetes (JobSet included).

    Args:
        tpu: whether this host has TPUs.
        installed: whether a Python package is.

    Raises:
        InputError: some of what is needed is there and the rest is not.
    """
    given = {"coordinator": coordinator, "processes": processes, "process": process}
    if processes == 1:
        return None
    if any(value is not None for value in given.values()):
        return _named("command line", given, FLAGS)
    found = {name: environment.get(variable) or None for name, variable in VARIABLES.items()}
    if found["processes"] == "1":
        return None
    if found["processes"]:
        found["process"] = found["process"] or environment.get("JOB_COMPLETION_INDEX")
        return _named("environment", found, VARIABLES)
    if tpu:
        return _tpu_pod(environment)
    if "SLURM_JOB_ID" in environment and _number(environment, "SLURM_NTASKS", 1) > 1:
        return _slurm(environment)
    if _number(environment, "OMPI_COMM_WORLD_SIZE", 1) > 1:
        return _open_mpi(environment, installed)
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return _kubernetes(environment, installed)
    if any(found.values()):
        return _named("environment", found, VARIABLES)
    return None


def _named(place: str, given: Mapping[str, str | int | None], names: Mapping[str, str]) -> Cluster:
    """A run that is spelled out; `names` is what a user calls its three parts."""
    missing = [names[part] for part, value in given.items() if value is None]
    if missing:
        there = [names[part] for part, value in given.items() if value is not None]
        raise InputError(f"{' and '.join(there)} came without {' and '.join(missing)}: several processes need all three. {ALONE}")
    coordinator = str(given["coordinator"])
    if not re.fullmatch(r".+:\d+", coordinator):
        raise InputError(f"{names['coordinator']}={coordinator} must be HOST:PORT, the first process's host and a free port there")
    texts = {names[part]: str(given[part]) for part in ("processes", "process")}
    processes, process = (_number(texts, name) for name in texts)
    if not 0 <= process < processes:
        raise InputError(f"{names['process']}={process} must be at least 0 and below {names['processes']}={processes}")
    return Cluster(place, coordinator, processes, process, detection="deactivate")


def _tpu_pod(environment: Mapping[str, str]) -> Cluster | None:
    """GKE names the hosts of a slice in a variable; elsewhere Google's metadata server knows them, and JAX asks it."""
    hosts = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES")
    if environment.get("TPU_PROCESS_ADDRESSES_PATH"):
        return Cluster("TPU pod")
    slices = _number(environment, "MEGASCALE_NUM_SLICES", 1)
    if hosts:
        return Cluster("TPU pod") if "," in hosts or slices > 1 else None
    return None if "TPU_SKIP_MDS_QUERY" in environment else Cluster("TPU pod")


def _slurm(environment: Mapping[str, str]) -> Cluster:
    if "SLURM_STEP_NODELIST" not in environment:
        raise InputError(
            f"SLURM has {environment['SLURM_NTASKS']} tasks for this job, but this process is none of them: start it with "
            f"`srun python train.py ...`. {ALONE}"
        )
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    devices = len(visible.split(",")) if visible else _number(environment, "SLURM_GPUS_ON_NODE", 0)
    tasks_here = re.match(r"\d+", environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    # JAX gives task i of a node its i-th GPU. That GPU is not there if each task sees one alone, and the others lie idle
    # if a node has one task.
    local = None
    if devices == 1:
        local = (0,)
    elif devices and tasks_here and int(tasks_here[0]) == 1:
        local = tuple(range(devices))
    return Cluster("SLURM", local_devices=local, detection="slurm")


def _open_mpi(environment: Mapping[str, str], installed: Callable[[str], bool]) -> Cluster:
    """Open MPI 4 tells every process the address of its launcher, Open MPI 5 does not."""
    if "OMPI_MCA_orte_hnp_uri" in environment:
        return Cluster("Open MPI", detection="ompi")
    size, rank = (_number(environment, f"OMPI_COMM_WORLD_{name}") for name in ("SIZE", "RANK"))
    local = (_number(environment, "OMPI_COMM_WORLD_LOCAL_RANK", 0),)
    coordinator = environment.get("JAX_COORDINATOR_ADDRESS")
    if not coordinator and _number(environment, "OMPI_COMM_WORLD_LOCAL_SIZE", 0) == size:
        # All on this host. The job's name makes two jobs on one host choose different ports, most of the time.
        coordinator = f"127.0.0.1:{61440 + zlib.crc32(environment.get('PMIX_NAMESPACE', '').encode()) % 4096}"
    if coordinator:
        return Cluster("Open MPI", coordinator, size, rank, local, "deactivate")
    if installed("mpi4py"):
        return Cluster("Open MPI", detection="mpi4py")
    raise InputError(
        "Open MPI 5 does not say where its first process runs: give `mpirun -x JAX_COORDINATOR_ADDRESS=HOST:PORT`, or install "
        f"mpi4py. {ALONE}"
    )


def _kubernetes(environment: Mapping[str, str], installed: Callable[[str], bool]) -> Cluster:
    if installed("kubernetes"):
        return Cluster("Kubernetes")
    raise InputError(
        f"this is pod {environment['JOB_COMPLETION_INDEX']} of an indexed job in Kubernetes, and nothing says of how many: set "
        "JAX_NUM_PROCESSES and JAX_COORDINATOR_ADDRESS in the pod's template (docs/training.md has one), or install the "
        f"package kubernetes and let JAX ask the cluster. {ALONE}"
    )


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, default)
    try:
        return int(text)
    except (TypeError, ValueError):
        raise InputError(f"{name}={text} must be a whole number") from None

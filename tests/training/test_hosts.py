"""Who else belongs to a run: read off the environment, as a pure function."""

import inspect
import threading

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from asym_jax.errors import InputError
from asym_jax.training import hosts
from asym_jax.training.cluster import Cluster, find_cluster
from asym_jax.training.log import Log
from asym_jax.training.sharding import make_mesh
from asym_jax.training.silence import Silence

SLURM_JOB = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "16"}
SLURM_STEP = SLURM_JOB | {"SLURM_STEP_NODELIST": "node[01-02]", "SLURM_PROCID": "3", "SLURM_LOCALID": "3"}
OPEN_MPI_5 = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "1"}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "2"}
COORDINATOR = {"JAX_COORDINATOR_ADDRESS": "first:1234"}
SPELLED_OUT = COORDINATOR | {"JAX_NUM_PROCESSES": "4"}
EIGHT = {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}

ALONE = {
    "nothing": {},
    "an allocation of one task": SLURM_STEP | {"SLURM_NTASKS": "1"},
    "mpirun -n 1": OPEN_MPI_5 | {"OMPI_COMM_WORLD_SIZE": "1"},
    "a pod of no indexed job": {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
    "said so": {"JAX_NUM_PROCESSES": "1"} | POD,
}
SLURM = Cluster("SLURM", detection="slurm")
FOUND = {
    "spelled out": (SPELLED_OUT | {"JAX_PROCESS_ID": "3"}, Cluster("environment", "first:1234", 4, 3, None, "deactivate")),
    "one GPU of a node's eight each": (SLURM_STEP | EIGHT | {"SLURM_STEP_TASKS_PER_NODE": "8(x2)"}, SLURM),
    "without GPUs": (SLURM_STEP, SLURM),
    # JAX would let task 3 look for GPU 3, where it sees one only.
    "--gpus-per-task=1": (SLURM_STEP | {"CUDA_VISIBLE_DEVICES": "0"}, SLURM._replace(local_devices=(0,))),
    # JAX would use GPU 0 only.
    "one task per node": (
        SLURM_STEP | {"SLURM_STEP_TASKS_PER_NODE": "1(x16)", "SLURM_GPUS_ON_NODE": "4"},
        SLURM._replace(local_devices=(0, 1, 2, 3)),
    ),
    "SLURM knows better than a pod": (SLURM_STEP | POD, SLURM),
    "Open MPI 4": (OPEN_MPI_5 | {"OMPI_MCA_orte_hnp_uri": "1;tcp://10.96.0.1:34911"}, Cluster("Open MPI", detection="ompi")),
    "Open MPI 5 with an address": (OPEN_MPI_5 | COORDINATOR, Cluster("Open MPI", "first:1234", 4, 1, (1,), "deactivate")),
    "an indexed job": (POD | SPELLED_OUT, Cluster("environment", "first:1234", 4, 2, None, "deactivate")),
}


@pytest.mark.parametrize("environment", ALONE.values(), ids=ALONE)
def test_a_process_that_is_alone(environment):
    assert find_cluster(environment) is None


@pytest.mark.parametrize(("environment", "expected"), FOUND.values(), ids=FOUND)
def test_a_process_that_is_not(environment, expected):
    assert find_cluster(environment) == expected


def test_packages_that_know_more():
    assert find_cluster(OPEN_MPI_5, installed={"mpi4py"}.__contains__) == Cluster("Open MPI", detection="mpi4py")
    assert find_cluster(POD, installed={"kubernetes"}.__contains__) == Cluster("Kubernetes")


def test_open_mpi_5_on_one_host_agrees_on_a_port():
    on_one = OPEN_MPI_5 | {"OMPI_COMM_WORLD_LOCAL_SIZE": "4", "PMIX_NAMESPACE": "prterun-a-1@1"}
    first, second = (find_cluster(on_one | {"OMPI_COMM_WORLD_RANK": rank}) for rank in "01")
    assert first.coordinator == second.coordinator and first.process != second.process
    host, port = first.coordinator.split(":")
    assert host == "127.0.0.1" and 61440 <= int(port) < 65536
    assert find_cluster(on_one | {"PMIX_NAMESPACE": "prterun-a-2@1"}).coordinator != first.coordinator


@pytest.mark.parametrize(
    ("environment", "several"),
    [
        ({}, True),  # Google's metadata server knows
        ({"TPU_SKIP_MDS_QUERY": "1"}, False),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, True),
        ({"TPU_WORKER_HOSTNAMES": "a"}, False),
        ({"TPU_WORKER_HOSTNAMES": "a", "MEGASCALE_NUM_SLICES": "2"}, True),
        ({"TPU_WORKER_HOSTNAMES": "a"} | POD, False),
    ],
)
def test_tpu_hosts(environment, several):
    assert find_cluster(environment, tpu=True) == (Cluster("TPU pod") if several else None)


def test_arguments_come_first():
    found = find_cluster(SLURM_STEP, coordinator="h:1", processes=2, process=1)
    assert found == Cluster("command line", "h:1", 2, 1, None, "deactivate")
    assert find_cluster(SLURM_JOB, processes=1) is None


HALF = {
    "srun forgotten": (SLURM_JOB, "SLURM has 16 tasks.*srun python train.py"),
    "an address alone": (COORDINATOR, "JAX_COORDINATOR_ADDRESS came without JAX_NUM_PROCESSES and JAX_PROCESS_ID"),
    "a number alone": (SPELLED_OUT, "JAX_COORDINATOR_ADDRESS and JAX_NUM_PROCESSES came without JAX_PROCESS_ID"),
    "Open MPI 5 on several hosts": (OPEN_MPI_5 | {"OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, "mpirun -x JAX_COORDINATOR_ADDRESS"),
    "an indexed job of unknown size": (POD, "pod 2 of an indexed job.*JAX_NUM_PROCESSES and JAX_COORDINATOR_ADDRESS"),
    "no number": (SLURM_STEP | {"SLURM_NTASKS": "many"}, "SLURM_NTASKS=many must be a whole number"),
    "too large": (SPELLED_OUT | {"JAX_PROCESS_ID": "4"}, "JAX_PROCESS_ID=4 must be .* below JAX_NUM_PROCESSES=4"),
    "no port": (
        SPELLED_OUT | {"JAX_PROCESS_ID": "0", "JAX_COORDINATOR_ADDRESS": "first"},
        "JAX_COORDINATOR_ADDRESS=first must be HOST:PORT",
    ),
}


@pytest.mark.parametrize(("environment", "message"), HALF.values(), ids=HALF)
def test_half_of_what_is_needed_is_refused(environment, message):
    with pytest.raises(InputError, match=message):
        find_cluster(environment)


def test_half_of_the_arguments_is_refused():
    with pytest.raises(InputError, match="--processes came without --coordinator and --process: .*--processes 1 starts this"):
        find_cluster({}, processes=2)


def test_processes_that_do_not_meet_are_a_message(monkeypatch):
    def fail(cluster):
        raise RuntimeError("DEADLINE_EXCEEDED")

    monkeypatch.setattr(hosts, "_join", fail)
    with pytest.raises(InputError, match="command line: the processes of this run did not find each other .DEADLINE_EXCEEDED"):
        hosts.initialise("h:1", 2, 1)


def test_one_refusal_ends_all(monkeypatch):
    """As seen by process 1 of 3 while process 2 is refused."""
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    answers = []

    def gather(mine):
        answers.append(bool(mine))
        return np.array([False, mine, True])

    monkeypatch.setattr(hosts.multihost_utils, "process_allgather", gather)
    with pytest.raises(InputError, match="process 1 ends because of process 2"), hosts.agreed():
        pass
    with pytest.raises(InputError, match="^mine$"), hosts.agreed():
        raise InputError("mine")
    assert answers == [False, True]  # those who wait were told in both cases


@pytest.mark.parametrize("here", [None, "another run's"])
def test_a_folder_that_not_all_hosts_see_is_refused(tmp_path, monkeypatch, here):
    """As seen by process 1 of 2."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    # sha256sum of "abc", as process 0 has it
    monkeypatch.setattr(hosts, "of_first", lambda _: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    monkeypatch.setattr(hosts, "VISIBLE_SECONDS", 0.2)
    monkeypatch.setattr(hosts, "LOOK_EVERY", 0.01)
    path = tmp_path / "run" / "config.json"
    if here:
        path.parent.mkdir()
        path.write_text(here)
    with pytest.raises(InputError, match=r"process 1 does not see the config\.json of process 0: --workdir must be a folder that"):
        hosts.require_shared(path)
    monkeypatch.setattr(hosts, "VISIBLE_SECONDS", 60)

    def write() -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text("abc")

    threading.Timer(0.1, write).start()  # it comes late
    hosts.require_shared(path)


def test_silence_covers_all_that_a_log_can_say():
    public = {name for name, _ in inspect.getmembers(Log, inspect.isfunction) if not name.startswith("_")}
    assert public | {"__init__", "__enter__", "__exit__"} <= vars(Silence).keys()


def test_arrays_go_out_and_come_back_whole():
    mesh = make_mesh(8, fsdp=4)
    tree = {"a": np.arange(32).reshape(4, 8), "b": np.float32(3)}
    there = hosts.spread(tree, {"a": NamedSharding(mesh, P(None, "fsdp")), "b": NamedSharding(mesh, P())})
    assert there["a"].addressable_shards[0].data.shape == (4, 2)
    jax.tree.map(np.testing.assert_array_equal, hosts.fetch(there, mesh), tree)

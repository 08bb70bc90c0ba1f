"""Checkpoints on disk: all of the state, on whatever devices there are."""

import json
import shutil
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from asym_jax import checkpoint
from asym_jax.training.state import TrainState

OPTIMISER = optax.chain(optax.scale_by_adam(), optax.partition({"a": optax.sgd(0.1), "b": optax.adam(0.1)}, {"x": "a", "y": "b"}))


def mesh_of(count: int) -> Mesh:
    return jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:count])


def state(step: int = 7) -> TrainState:
    """Every leaf is different; `average` and `critic` are empty, as in a run without them."""
    random = np.random.default_rng(step)
    decoder = {"x": np.float32(random.normal(size=(8, 3))), "y": np.float32(random.normal(size=(16,)))}
    optimiser = jax.tree.map(lambda a: np.asarray(a) + random.integers(1, 9), OPTIMISER.init(decoder))
    return TrainState(np.int32(step), decoder, {}, {}, optimiser, optax.sgd(0.1).init({}))


def places(tree: TrainState, mesh: Mesh) -> TrainState:
    """Arrays whose first side allows it are split, the others are everywhere."""

    def place(leaf: np.ndarray) -> NamedSharding:
        return NamedSharding(mesh, P("data") if leaf.ndim and leaf.shape[0] % mesh.size == 0 else P())

    return jax.tree.map(place, tree)


def placed(tree: TrainState, mesh: Mesh) -> TrainState:
    return jax.device_put(tree, places(tree, mesh))


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A folder with steps 1 to 3, saved from eight devices, of which two are kept."""
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    with checkpoint.open_folder(folder, checkpoint.Keep(2)) as checkpoints:
        assert checkpoints.newest is None
        for step in (1, 2, 3):
            items = placed(state(step), mesh_of(8))._asdict()
            checkpoints.save(step, items, {"optim": {"steps": 100 + step}, "seed": 0})
    return folder


def test_the_newest_are_kept_and_none_is_half_written(saved):
    assert {path.name for path in saved.iterdir()} == {"2", "3"}


@pytest.mark.parametrize("devices", [4, 8, 1])
def test_a_state_comes_back_equal_on_other_devices(saved, devices):
    expected = state(3)
    everywhere = places(expected, mesh_of(devices))
    with checkpoint.open_folder(saved, checkpoint.Keep(2)) as checkpoints:
        assert checkpoints.newest == 3
        items = checkpoints.load(3, checkpoint.abstract_like(expected, everywhere)._asdict())
    restored = TrainState(**items)
    chex.assert_trees_all_equal_structs(restored, expected)
    chex.assert_trees_all_equal(restored, expected)
    chex.assert_trees_all_equal_dtypes(restored, jax.tree.map(jnp.asarray, expected))
    jax.tree.map(lambda leaf, place: chex.assert_equal(leaf.sharding, place), restored, everywhere)


def test_one_item_can_be_read_alone(saved):
    expected = state(2)
    abstract = checkpoint.abstract_like(expected, places(expected, mesh_of(1)))
    with checkpoint.open_folder(saved, checkpoint.Keep(2)) as checkpoints:
        items = checkpoints.load(2, {"decoder": abstract.decoder})
    assert set(items) == {"decoder"}
    chex.assert_trees_all_equal(items["decoder"], expected.decoder)


def test_the_config_travels_with_its_step(saved):
    with checkpoint.open_folder(saved, checkpoint.Keep(2)) as checkpoints:
        assert checkpoints.config(3) == {"optim": {"steps": 103}, "seed": 0}
        assert checkpoints.config(2)["optim"] == {"steps": 102}


def test_half_written_steps_are_passed_over(saved, tmp_path):
    """What a killed process leaves: a step under its temporary name."""
    folder = shutil.copytree(saved, tmp_path / "checkpoints")
    (folder / "3").rename(folder / "3.orbax-checkpoint-tmp")
    (folder / "4.orbax-checkpoint-tmp").mkdir()
    expected = state(2)
    with checkpoint.open_folder(folder, checkpoint.Keep(2)) as checkpoints:
        assert checkpoints.newest == 2
        items = checkpoints.load(2, checkpoint.abstract_like(expected, places(expected, mesh_of(8)))._asdict())
        chex.assert_trees_all_equal(items["decoder"], expected.decoder)
        checkpoints.save(3, placed(state(3), mesh_of(8))._asdict(), {})
    with checkpoint.open_folder(folder, checkpoint.Keep(2)) as checkpoints:
        assert checkpoints.newest == 3


def test_writing_continues_where_it_stopped(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "checkpoints")
    with checkpoint.open_folder(folder, checkpoint.Keep(2)) as checkpoints:
        checkpoints.save(5, placed(state(5), mesh_of(4))._asdict(), {"seed": 1})
    assert {path.name for path in folder.iterdir()} == {"3", "5"}
    with checkpoint.open_folder(folder, checkpoint.Keep(2)) as checkpoints:
        assert (checkpoints.newest, checkpoints.config(5)) == (5, {"seed": 1})
    assert json.loads((folder / "5" / "_CHECKPOINT_METADATA").read_text())

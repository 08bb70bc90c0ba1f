"""The table that says which device holds what, and that it changes nothing else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from asym_jax import checkpoint
from asym_jax.config import ShardingConfig
from asym_jax.errors import InputError
from asym_jax.training.log import Log
from asym_jax.training.networks import build, initial_state
from asym_jax.training.program import Program
from asym_jax.training.sharding import FROZEN, batch_sharding, make_mesh, path_name, placement, placement_table, state_shardings
from asym_jax.training.state import TrainState
from tests.training.test_devices import pictures
from tests.training.tiny import save_vae, tiny_config

TOLERANCE = 1e-6


def shape(*sizes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def specs(tree, rules=((".*", "split"),), *, fsdp: int = 4, smallest: int = 1):
    places = state_shardings(tree, make_mesh(8, fsdp=fsdp), ShardingConfig(rules=rules, smallest=smallest))
    return jax.tree.map(lambda place: place.spec, places)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((3, 3, 64, 512), P(None, None, None, "fsdp")),
        ((3, 3, 512, 64), P(None, None, "fsdp")),
        ((3, 3, 8, 8), P(None, None, None, "fsdp")),  # of two equal ones, the last
        ((3, 3, 510, 64), P(None, None, None, "fsdp")),  # 4 does not divide the longest
        ((4, 3), P("fsdp")),
        ((5, 7), P()),
        ((), P()),
    ],
)
def test_the_longest_axis_that_can_be_cut_is_cut(sizes, expected):
    assert specs(shape(*sizes)) == expected


def test_small_arrays_and_grids_one_wide_are_left_whole():
    tree = {"a": shape(100), "b": shape(96)}
    assert specs(tree, smallest=97) == {"a": P("fsdp"), "b": P()}
    assert specs(tree, fsdp=1) == {"a": P(), "b": P()}


def test_the_first_rule_decides_and_what_none_matches_is_copied():
    tree = {"decoder": {"conv_in": shape(8), "conv_out": shape(8)}, "critic": {"conv_in": shape(8)}, "step": shape()}
    rules = (("^critic", "copy"), ("conv_in", "split"))
    assert specs(tree, rules) == {
        "decoder": {"conv_in": P("fsdp"), "conv_out": P()},
        "critic": {"conv_in": P()},
        "step": P(),
    }


@pytest.mark.parametrize("rules", [(("decodr/", "copy"), (".*", "split")), ((".*", "split"), ("decodr/", "copy"))])
def test_a_rule_that_matches_nothing_is_an_error(rules):
    with pytest.raises(InputError, match=r"sharding.rules: nothing matches \['decodr/'\]"):
        specs({"decoder": shape(8)}, rules)


def test_a_rule_behind_one_that_takes_all_is_an_error():
    with pytest.raises(InputError, match=r"nothing matches \['decoder'\] \(or an earlier pattern takes it all\)"):
        specs({"decoder": shape(8)}, ((".*", "split"), ("decoder", "copy")))


def test_grids_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="sharding.fsdp=3 does not divide the 8 devices"):
        make_mesh(8, fsdp=3)
    with pytest.raises(InputError, match="data.batch-size=12 cannot be shared evenly by 8 devices; give a multiple of 8"):
        make_mesh(12)
    with pytest.raises(InputError, match="data.batch-size=24 .* in optim.accumulate=2 parts; give a multiple of 16"):
        make_mesh(24, accumulate=2)


def test_a_batch_is_split_over_every_device_whatever_the_grid():
    for fsdp in (1, 2, 8):
        shards = jax.device_put(jnp.arange(16), batch_sharding(make_mesh(16, fsdp=fsdp))).addressable_shards
        assert sorted(tuple(shard.data.tolist()) for shard in shards) == [(i, i + 1) for i in range(0, 16, 2)]


def test_what_the_log_says():
    mesh = make_mesh(8, fsdp=4)
    tree = {"decoder": {"a": jnp.zeros((8, 1000)), "b": jnp.zeros(3)}, "frozen": {"vae": {"a": jnp.zeros((4, 2))}}}
    placed = jax.device_put(tree, state_shardings(tree, mesh, ShardingConfig(smallest=8)))
    assert [tuple(row) for row in placement(placed)] == [
        ("decoder", True, 1, 8000, 8000),  # 4 bytes each, a quarter of them
        ("decoder", False, 1, 3, 12),
        ("frozen/vae", True, 1, 8, 8),
    ]
    lines = [line.split() for line in placement_table(placed).splitlines()]
    assert lines[1] == ["decoder", "split", "1", "8,000", "7.8", "KiB"]
    assert lines[-1] == ["together", "3", "8,011", "7.8", "KiB"]


def test_a_checkpoint_can_be_read_with_another_table(tmp_path):
    tree = {"decoder": {"a": jnp.arange(64.0).reshape(8, 8), "b": jnp.arange(3.0)}}

    def places(fsdp: int):
        return state_shardings(tree, make_mesh(8, fsdp=fsdp), ShardingConfig(smallest=1))

    with checkpoint.open_folder(tmp_path, checkpoint.Keep(1)) as checkpoints:
        checkpoints.save(1, jax.device_put(tree, places(8)), {})
    for fsdp in (1, 2):
        with checkpoint.open_folder(tmp_path, checkpoint.Keep(1)) as checkpoints:
            read = checkpoints.load(1, checkpoint.abstract_like(tree, places(fsdp)))
        assert jax.tree.map(lambda leaf: leaf.sharding, read) == places(fsdp)
        jax.tree.map(np.testing.assert_array_equal, read, tree)


@pytest.mark.slow
def test_splitting_changes_nothing_but_places(tmp_path):
    """Two updates, critic included, on grids 1, 2 and 8 wide."""
    config = tiny_config(save_vae(tmp_path / "vae", (4, 8)), critic={"norm_images": 4}, sharding={"smallest": 64})
    networks, frozen, given = build(config)
    # Not Adam, which magnifies the rounding noise of gradients that are almost zero.
    networks = dataclasses.replace(networks, decoder_tx=optax.sgd(1e-4, momentum=0.5), critic_tx=optax.sgd(1e-2, momentum=0.5))
    pixels = pictures(config.data.batch_size)
    found = {}
    for fsdp in (1, 2, 8):
        split = config.model_copy(update={"sharding": config.sharding.model_copy(update={"fsdp": fsdp})})
        mesh = make_mesh(8, fsdp=fsdp)
        state = jax.jit(lambda given: initial_state(config, networks, jax.random.key(1), given))(given)
        tree = state._asdict() | {FROZEN: frozen}
        placed = jax.device_put(tree, state_shardings(tree, mesh, split.sharding))
        weights, state = placed.pop(FROZEN), TrainState(**placed)
        before = placement({"decoder": state.decoder})
        assert len(before) == 1 + (fsdp > 1)
        with Log(tmp_path / f"{fsdp}.jsonl", start=0, steps=2) as log:
            program = Program(split, networks, mesh, log)
            for n in range(2):
                spread = jax.device_put(pixels, batch_sharding(mesh))
                state, metrics = program(n, weights, state)(weights, state, spread)
        assert placement({"decoder": state.decoder}) == before
        found[fsdp] = jax.device_get((state._asdict(), metrics))
    for fsdp in (2, 8):
        for (path, ours), (_, theirs) in zip(
            jax.tree.leaves_with_path(found[fsdp]), jax.tree.leaves_with_path(found[1]), strict=True
        ):
            name = path_name(path[1:])
            # Momenta are bare gradients, sums of thousands, of which little or nothing (attention's key bias) may remain.
            floor, bound = (1, 10 * TOLERANCE) if "_opt/" in name else (1e-3, TOLERANCE)
            error = np.linalg.norm(np.subtract(ours, theirs)) / max(np.linalg.norm(theirs), floor)
            assert error < bound, f"{fsdp}: {name}: {error}"

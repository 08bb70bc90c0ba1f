"""One program, one result: eight devices compute what one device computes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType

from asym_jax.training.log import Log
from asym_jax.training.networks import build, initial_state
from asym_jax.training.program import Program
from asym_jax.training.sharding import DATA, batch_sharding, make_mesh, replicated, state_shardings
from tests.training.tiny import save_vae, tiny_config

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    return save_vae(tmp_path_factory.mktemp("vae") / "vae", (4, 8))


def pictures(count: int) -> np.ndarray:
    """Each darker than the one before, so that it matters which ones share statistics."""
    random = np.random.default_rng(0)
    return (random.integers(0, 256, (count, 16, 16, 3)) / np.linspace(1, 8, count).reshape(-1, 1, 1, 1)).astype(np.uint8)


def born_on(mesh, config, networks, given):
    """A fresh state, made on its devices as in a run."""
    init = lambda given: initial_state(config, networks, jax.random.key(1), given)  # noqa: E731
    return jax.jit(init, out_shardings=state_shardings(jax.eval_shape(init, given), mesh))(given)


def update(mesh, config, networks, frozen, state, folder):
    """The loop's own program, once."""
    frozen = jax.device_put(frozen, replicated(mesh))
    pixels = jax.device_put(pictures(config.data.batch_size), batch_sharding(mesh))
    assert len(pixels.addressable_shards) == mesh.size
    with Log(folder / f"{mesh.size}.jsonl", start=0, steps=1) as log:
        compiled = Program(config, networks, mesh, log)(0, frozen, state)
    # All of the new state takes the place of the old one: an update needs no second copy of anything.
    assert compiled.memory_analysis().alias_size_in_bytes == sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    return compiled(frozen, state, pixels)


# Pictures that share statistics lie on four devices, or on one.
@pytest.mark.parametrize(("batch_size", "norm_images"), [(8, 4), pytest.param(16, 2, marks=pytest.mark.slow)])
def test_eight_devices_agree_with_one(vae, tmp_path, batch_size, norm_images):
    config = tiny_config(vae, data={"batch_size": batch_size}, critic={"norm_images": norm_images})
    networks, frozen, given = build(config)
    # Not Adam, whose first step forgets the size of a gradient, and with it every sum taken for a mean.
    networks = dataclasses.replace(networks, decoder_tx=optax.sgd(1.0, momentum=0.5), critic_tx=optax.sgd(1.0, momentum=0.5))
    one, eight = jax.make_mesh((1,), (DATA,), axis_types=(AxisType.Auto,), devices=jax.devices()[:1]), make_mesh(batch_size)
    born = born_on(eight, config, networks, given)
    start = jax.device_get(jax.tree.map(jnp.copy, born))  # of a copy, because what the host looks at cannot be given away
    state, metrics = update(eight, config, networks, frozen, born, tmp_path)
    expected_state, expected = update(one, config, networks, frozen, jax.device_put(start, replicated(one)), tmp_path)

    assert all(leaf.sharding.is_fully_replicated and len(leaf.devices()) == 8 for leaf in jax.tree.leaves(state))
    # The first state was given away: nothing in it, such as the average, shared a buffer with anything else.
    assert [jax.tree_util.keystr(path) for path, leaf in jax.tree.leaves_with_path(born) if not leaf.is_deleted()] == []
    assert metrics["finite"] == 1
    assert metrics.keys() == expected.keys()
    for name in metrics:
        np.testing.assert_allclose(metrics[name], expected[name], rtol=TOLERANCE, atol=1e-6, err_msg=name)
    for part in ("decoder", "average", "critic"):
        pairs = zip(jax.tree.leaves_with_path(getattr(state, part)), jax.tree.leaves(getattr(expected_state, part)), strict=True)
        for (path, ours), theirs in pairs:
            error = np.linalg.norm(np.subtract(ours, theirs)) / np.linalg.norm(theirs)
            assert error < TOLERANCE, part + jax.tree_util.keystr(path)

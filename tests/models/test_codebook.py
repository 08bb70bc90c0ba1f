"""The nearest entry: by pencil, against exact distances, and against PyTorch diffusers at the sizes of LDM's codebooks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from asym_jax.models.codebook import Codebook, nearest
from tests.models.torch_trees import channels_first, channels_last


@pytest.mark.parametrize("limit", [1, 4, 6, 10, 100], ids="{} comparisons".format)
def test_by_pencil(limit):
    """Five entries on a line, two of them equal, for two positions: 5, 3, 2, 1 and 1 turns, the last of which may be filled up."""
    entries = jnp.array([[0.0, 0.0], [4.0, 0.0], [8.0, 0.0], [4.0, 0.0], [-4.0, 0.0]])
    found = {at: [int(i) for i in nearest(entries, jnp.array([[[[x, 1.0], [x, -7.0]]]]), limit=limit).ravel()] for at, x in PLACES}
    # 2 lies half way between 0 and 4, and -2 between 0 and -4: the first of the two entries in the list.
    assert found == {"at the second": [1, 1], "beyond": [2, 2], "tie": [0, 0], "other tie": [0, 0], "near the last": [4, 4]}


PLACES = [("at the second", 4.5), ("beyond", 100.0), ("tie", 2.0), ("other tie", -2.0), ("near the last", -2.5)]


def test_a_codebook_far_from_the_origin():
    """Squares near 2**26 leave steps of 8 to float32, and the distances are below 1: only the centred form tells them apart."""
    entries = jnp.array([8192.0, 8192.25, 8192.5, 8192.75]).reshape(4, 1)
    latents = jnp.array([8192.2, 8192.3, 8192.6, 8192.7]).reshape(1, 2, 2, 1)
    assert nearest(entries, latents).ravel().tolist() == [1, 1, 2, 3]


# vq-f4; vq-f8; vq-f16
@pytest.mark.parametrize(("count", "width"), [(8192, 3), (16384, 4), (16384, 8)])
@pytest.mark.parametrize("centre", [0.0, 5.0])
def test_sizes_of_the_published_codebooks(count, width, centre):
    torch = pytest.importorskip("torch")
    from diffusers.models.autoencoders.vae import VectorQuantizer

    random = np.random.default_rng(count + width)
    entries, latents = (random.normal(centre, size=shape).astype(np.float32) for shape in [(count, width), (2, 16, 24, width)])
    quantiser = VectorQuantizer(count, width, beta=0.25)
    quantiser.embedding.weight.data = torch.from_numpy(entries)
    theirs, _, (_, _, indices) = quantiser(channels_first(torch, latents))

    ours = jax.jit(functools.partial(nearest, limit=5_000_000))(entries, latents)  # two or three turns
    quantised, again = jax.jit(Codebook(count, width).apply)({"params": {"embedding": {"embedding": entries}}}, latents)
    np.testing.assert_array_equal(ours, again)  # one turn
    np.testing.assert_array_equal(quantised, entries[again])

    vectors = latents.reshape(-1, width).astype(np.float64)
    squares = sum(np.square(vectors[:, None, z] - entries[None, :, z].astype(np.float64)) for z in range(width))
    assert np.array_equal(np.asarray(ours).ravel(), squares.argmin(axis=1))
    # PyTorch does not take the mean off. Where it errs, its entry is as good as the nearest one.
    rows, indices = np.arange(len(vectors)), indices.numpy()
    differs = indices != squares.argmin(axis=1)
    assert differs.sum() <= (2 if centre else 0)
    np.testing.assert_allclose(np.sqrt(squares[rows, indices]), np.sqrt(squares.min(axis=1)), atol=1e-4)
    same = ~differs.reshape(ours.shape)
    np.testing.assert_allclose(quantised[same], channels_last(theirs.detach())[same], atol=1e-6)


def test_memory_is_bounded_and_positions_stay_where_they_are():
    """16 pictures of 256 pixels at vq-f4 make 2**29 comparisons, 2 GiB."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    spread, everywhere = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
    shapes = jax.ShapeDtypeStruct((8192, 3), jnp.float32), jax.ShapeDtypeStruct((16, 64, 64, 3), jnp.float32)
    spread_out = jax.jit(nearest, in_shardings=(everywhere, spread), out_shardings=spread).lower(*shapes).compile()
    assert not any(word in spread_out.as_text() for word in ("all-gather", "all-reduce", "all-to-all", "collective-permute"))
    assert spread_out.memory_analysis().temp_size_in_bytes < 2**26
    assert jax.jit(nearest).lower(*shapes).compile().memory_analysis().temp_size_in_bytes < 2**28


def test_entries_start_as_in_the_released_code():
    params = Codebook(512, 4).init(jax.random.key(0), jnp.zeros((1, 1, 1, 4)))["params"]
    (entries,) = jax.tree.leaves(params)
    assert entries.shape == (512, 4) and list(params) == ["embedding"]
    assert np.abs(entries).max() <= 1 / 512
    np.testing.assert_allclose(np.std(entries), 1 / 512 / 3**0.5, rtol=0.05)

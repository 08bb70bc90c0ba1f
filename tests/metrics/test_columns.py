"""All scores at once: against the single metrics, and the same however the pictures were spread."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from asym_jax.metrics import columns as table
from asym_jax.metrics.frechet import frechet_distance_of_samples, gaussian
from asym_jax.metrics.gathered import ByIndex
from asym_jax.metrics.inception_score import inception_score
from asym_jax.metrics.scores import Summary, compare

N, SIDE, BATCH = 13, 16, 8


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (N, SIDE, SIDE, 3), dtype=np.uint8)
    images = np.clip(pixels / 127.5 - 1 + random.normal(scale=0.05, size=pixels.shape), -1.2, 1.2).astype(np.float32)
    images[3] = pixels[3] / np.float32(127.5) - 1
    mask = (random.uniform(size=(N, SIDE, SIDE, 1)) > 0.6).astype(np.float32)
    mask[5] = 1
    return pixels, images, mask


def everything(pixels, images, mask):
    toy = jnp.sin(jnp.arange(SIDE * SIDE * 3 * 6.0)).reshape(SIDE, SIDE, 3, 6)
    features = jnp.einsum("bhwc,hwck->bk", images, toy, precision="highest")
    exact = table.picture_columns(pixels, table.quantise(images), mask)
    return exact | table.decoded_columns(pixels, images, mask) | {"features": features}


@functools.cache
def compiled(devices):
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,))
    spread, everywhere = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
    return jax.jit(everything, in_shardings=spread, out_shardings=everywhere), spread


def evaluated(data, order, devices, hosts=1) -> dict:
    """Batches of 8 over so many devices, filled up with NaN and noise under the number -1, or wrapped around."""
    step, spread = compiled(devices)
    gathered = [ByIndex(N) for _ in range(hosts)]
    for start in range(0, len(order), BATCH):
        indices = np.full(BATCH, -1)
        indices[: len(order[start : start + BATCH])] = order[start : start + BATCH]
        pixels, images, mask = (array[indices].copy() for array in data)
        images[indices < 0], pixels[indices < 0] = np.nan, 99
        rows = table.settled(step(*(jax.device_put(array, spread) for array in (pixels, images, mask))))
        gathered[start // BATCH % hosts].add(indices, rows)
    for other in gathered[1:]:
        gathered[0].merge(other)
    return gathered[0].columns()


def test_devices_order_repetitions_and_hosts_change_nothing(data):
    plain = evaluated(data, list(range(N)), devices=1)
    shuffled = np.random.default_rng(1).permutation(N).tolist()
    for other in (
        evaluated(data, list(range(N)), devices=8),
        evaluated(data, [*shuffled, *shuffled[:7]], devices=8),
        evaluated(data, [*shuffled, *shuffled[:3]], devices=8, hosts=2),
    ):
        assert sorted(other) == sorted(plain)
        for name, values in plain.items():
            if np.issubdtype(values.dtype, np.integer):
                np.testing.assert_array_equal(other[name], values)
            else:  # devices with another number of rows may round otherwise
                np.testing.assert_allclose(other[name], values, rtol=1e-5, atol=1e-6)
        features, originals = other["features"], plain["features"][:, ::-1]
        fitted = gaussian(features)
        np.testing.assert_allclose(fitted.covariance, np.cov(features.astype(np.float64), rowvar=False), rtol=1e-7, atol=0)
        np.testing.assert_allclose(
            fitted.covariance, np.cov(plain["features"].astype(np.float64), rowvar=False), rtol=1e-6, atol=1e-6
        )
        np.testing.assert_allclose(
            frechet_distance_of_samples(features, originals), frechet_distance_of_samples(plain["features"], originals), rtol=1e-6
        )
        np.testing.assert_allclose(inception_score(features), inception_score(plain["features"]), rtol=1e-5, atol=1e-6)


def test_a_picture_that_no_batch_had_is_missed(data):
    with pytest.raises(ValueError, match="1 of 13 pictures were not measured: 6"):
        evaluated(data, [i for i in range(N) if i != 6], devices=1)


def test_summed_up_agrees_with_the_summary_of_training(data):
    pixels, images, mask = (jnp.asarray(array) for array in data)
    columns = evaluated(data, list(range(N)), devices=1)
    results = table.summed_up(columns, pixels=SIDE * SIDE)
    known = Summary.of(jax.jit(compare)(pixels, table.quantise(images), mask), np.ones(N, bool)).results()
    for name, value in known.items():
        np.testing.assert_allclose(results[name], value, rtol=1e-6)
    assert (results["images"], results["psnr_infinite"], results["pre_error_skipped"], results["seam_skipped"]) == (N, 1, 1, 1)
    # Cut off instead of rounded: further away. Not rounded at all: about as far.
    assert results["pre_error_floor"] > results["pre_error"] * 1.001
    np.testing.assert_allclose(results["pre_error_float"], results["pre_error"], rtol=0.05)
    kept = 3 * np.sum(data[2] < 0.5)
    np.testing.assert_allclose(
        results["pre_error_over_all_pixels"], results["pre_error"] * kept / (3 * N * SIDE * SIDE), rtol=1e-12
    )
    assert results["ssim_lama"] != results["ssim"] and results["seam"] > 0

"""FID from pictures, spread over devices and not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from asym_jax.metrics.fid import fid, look
from asym_jax.metrics.gathered import ByIndex


@pytest.mark.slow
def test_eight_devices_see_what_one_sees():
    """Ten pictures in batches of eight: the features of all devices, gathered, give the distance of one device."""
    from tests.models import torch_inception as tools

    params = tools.tree_of(tools.random_state())
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (10, 40, 40, 3), dtype=np.uint8) for _ in range(2)]
    plain = [np.concatenate([one_by_one(params, picture) for picture in side]) for side in pictures]
    spread = [gathered(params, side) for side in pictures]
    for mine, wanted in zip(spread, plain, strict=True):
        print("bit-identical:", np.array_equal(mine, wanted))
        np.testing.assert_allclose(mine, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
    np.testing.assert_allclose(fid(*spread), fid(*plain), rtol=1e-5)
    assert fid(*plain) > 0
    np.testing.assert_allclose(fid(plain[0], plain[0][::-1]), 0, atol=1e-4)


def one_by_one(params, picture):
    return np.asarray(alone(params, jnp.asarray(picture[None])).pool3)


alone = jax.jit(lambda params, pixels: look(params, pixels, "legacy_pytorch"))


def gathered(params, pictures):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    rows, everywhere = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
    step = jax.jit(
        lambda params, pixels: look(params, pixels, "legacy_pytorch"), in_shardings=(everywhere, rows), out_shardings=everywhere
    )
    result = ByIndex(len(pictures))
    for start in (0, 8):
        indices = np.where(np.arange(start, start + 8) < len(pictures), np.arange(start, start + 8), -1)
        result.add(indices, {"pool3": step(params, jax.device_put(pictures[indices], rows)).pool3})
    return result.columns()["pool3"]

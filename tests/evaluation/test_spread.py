"""Blocks of examples on devices: which go where, and that their number changes no bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.evaluation.spread import Spread


def spread(rows: int, devices: int, function=lambda params, batch: batch["index"], params=()) -> Spread:
    return Spread(function, params, rows=rows, devices=jax.devices()[:devices])


def test_blocks_are_whole_whatever_is_missing():
    assert list(spread(2, 3).batches([5, 1, 11, 12])) == [[0, 1, 4, 5, 10, 11], [12, 13]]
    assert list(spread(3, 1).batches([4, 5])) == [[3, 4, 5]]
    assert list(spread(3, 8).batches([])) == []


def test_what_lacks_to_a_batch_is_zeros_with_the_index_of_padding():
    stacked = spread(2, 2).stack([{"index": np.int32(4), "x": np.ones(3)}, None])
    assert stacked["index"].tolist() == [4, -1, -1, -1]
    assert stacked["x"].tolist() == [[1, 1, 1]] + [[0, 0, 0]] * 3


@pytest.mark.parametrize("rows", [1, 3])
def test_one_and_eight_devices_agree_to_the_bit(rows):
    """A network whose sums are long enough to depend on their order."""
    random = np.random.default_rng(0)
    kernel = random.normal(size=(3, 3, 64, 64)).astype(np.float32)
    pictures = random.normal(size=(11, 12, 12, 64)).astype(np.float32)

    def convolve(params: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
        layer = jax.lax.conv_general_dilated(batch["x"], params, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jnp.tanh(layer).mean(axis=(1, 2, 3))

    found = {}
    for devices in (1, 8):
        run, values = spread(rows, devices, convolve, kernel), {}
        for indices in run.batches(range(len(pictures))):
            batch = run.stack([{"index": np.int32(i), "x": pictures[i]} if i < len(pictures) else None for i in indices])
            for index, value in zip(batch["index"], run(batch), strict=True):
                values[int(index)] = float(value)
        found[devices] = [values[i] for i in range(len(pictures))]
    assert found[1] == found[8]

"""A batch in parts: the same update."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from asym_jax.config import LossConfig, TrainConfig
from asym_jax.training.accumulation import averaged_over_parts
from asym_jax.training.sharding import DATA, replicated
from asym_jax.training.step import train_step
from asym_jax.training.together import Devices
from tests.training.test_step import OneWeight, start

RECONSTRUCTION = LossConfig(perceptual=1.0, adversarial=0)


def test_parts_follow_one_another():
    weights = jnp.array([1.0, 10.0, 100.0])
    mean = averaged_over_parts(lambda rows: rows @ weights, jnp.arange(6.0), parts=2)
    assert mean == ((0 + 10 + 200) + (3 + 40 + 500)) / 2


@dataclasses.dataclass(frozen=True)
class Noisy(OneWeight):
    """Noise and masks matter, and differ for every picture."""

    def draw_masks(self, key, image):
        return jax.random.uniform(key, (*image.shape[:3], 1))

    def draw_noise(self, key, image):
        return jax.random.normal(key, image.shape)

    def encode(self, frozen, noise, image):
        return image + noise

    def features(self, decoder, latents, image, mask):
        return decoder["w"] * latents * mask


def pictures(count: int = 8):
    return jax.random.randint(jax.random.key(7), (count, 2, 2, 3), 0, 256).astype(jnp.uint8)


def devices(count: int) -> Devices:
    """Everything copied."""
    mesh = jax.make_mesh((count,), (DATA,), axis_types=(AxisType.Auto,), devices=jax.devices()[:count])
    return Devices(mesh, {}, jax.tree.map(lambda _: replicated(mesh), start()))


def update(parts, loss, pixels, **how):
    step = functools.partial(train_step, parts, loss, 0.75, {}, jax.random.key(0), critic_awake=bool(loss.adversarial), **how)
    return jax.jit(step)(start(), pixels)


@pytest.mark.parametrize("how", [(2, None), (1, 4), (4, 2), (8, None)])
def test_without_a_critic_the_update_is_that_of_the_whole_batch(how):
    """Noise and masks included: they follow their pictures into the parts, and onto the devices."""
    accumulate, count = how
    whole, expected = update(Noisy(), RECONSTRUCTION, pictures())
    state, metrics = update(Noisy(), RECONSTRUCTION, pictures(), accumulate=accumulate, devices=count and devices(count))
    assert metrics.keys() == expected.keys()
    for ours, theirs in zip(jax.tree.leaves((state, metrics)), jax.tree.leaves((whole, expected)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_with_a_critic_each_part_has_its_own_adaptive_weight():
    loss = LossConfig(perceptual=0, adversarial=0.5, critic_start=0, adversarial_start=0)
    bright, dark = jnp.full((4, 2, 2, 3), 255, jnp.uint8), jnp.full((4, 2, 2, 3), 204, jnp.uint8)  # 1.0 and 0.6
    _, metrics = update(OneWeight(), loss, jnp.concatenate([bright, dark]), accumulate=2)
    # d nll/dk = 12 w x and d g/dk = -v w x: both shrink with x, and only the 1e-4 beside the second tells them apart.
    weights = [0.5 * (24 * x) / (0.5 * x + 1e-4) for x in (1.0, 0.6)]
    np.testing.assert_allclose(metrics["adaptive_weight"], np.mean(weights), rtol=1e-6)
    apart = [update(OneWeight(), loss, half)[1] for half in (bright, dark)]
    for name in ("loss/total", "loss/critic", "logits/fake"):
        np.testing.assert_allclose(metrics[name], np.mean([half[name] for half in apart]), rtol=1e-6)


def test_with_a_critic_all_devices_share_one_adaptive_weight():
    loss = LossConfig(perceptual=0, adversarial=0.5, critic_start=0, adversarial_start=0)
    whole, expected = update(OneWeight(), loss, pictures())
    state, metrics = update(OneWeight(), loss, pictures(), devices=devices(8))
    for ours, theirs in zip(jax.tree.leaves((state, metrics)), jax.tree.leaves((whole, expected)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_part_takes_from_every_device_what_lies_there():
    """Two devices hold four pictures each: the first half of the batch is 0, 1, 4 and 5."""
    loss = LossConfig(perceptual=0, adversarial=0.5, critic_start=0, adversarial_start=0)
    order = np.array([0, 1, 4, 5, 2, 3, 6, 7])
    _, expected = update(OneWeight(), loss, pictures()[order], accumulate=2)
    _, metrics = update(OneWeight(), loss, pictures(), accumulate=2, devices=devices(2))
    np.testing.assert_allclose(metrics["adaptive_weight"], expected["adaptive_weight"], rtol=1e-6)
    _, other = update(OneWeight(), loss, pictures(), accumulate=2)
    assert not np.isclose(other["adaptive_weight"], expected["adaptive_weight"], rtol=1e-5)


def test_parts_that_do_not_fit_are_refused():
    def config(**changes):
        values = TrainConfig().model_dump()
        return TrainConfig(**values | {name: values[name] | change for name, change in changes.items()})

    assert config(optim={"accumulate": 8}).optim.accumulate == 8  # 80 pictures, 10 share statistics
    with pytest.raises(ValueError, match="batch_size=80 must be a multiple of optim.accumulate=3"):
        config(optim={"accumulate": 3})
    with pytest.raises(ValueError, match="accumulate=16 leaves 5 pictures at a time.*norm_images=10"):
        config(optim={"accumulate": 16})
    config(optim={"accumulate": 16}, loss={"adversarial": 0})

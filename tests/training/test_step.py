"""The update against pencil-and-paper numbers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from asym_jax.config import LossConfig
from asym_jax.models.convolutions import convolve
from asym_jax.training.state import TrainState
from asym_jax.training.step import Batch, find_gradients, train_step

PIXELS = jnp.full((8, 2, 2, 3), 255, jnp.uint8)  # 1.0 in [-1, 1]
ELEMENTS = 2 * 2 * 3


@dataclasses.dataclass(frozen=True)
class OneWeight:
    """Decoder x -> (w x) k with conv_out k, critic x -> v x: every derivative is known by hand."""

    decoder_tx: optax.GradientTransformation = optax.sgd(1.0)
    critic_tx: optax.GradientTransformation = optax.sgd(1.0)
    groups: tuple = (("^w$", 1.0), ("conv_out", 1.0))

    def draw_masks(self, key, image):
        return jnp.zeros((*image.shape[:3], 1))

    def draw_noise(self, key, image):
        return jnp.zeros_like(image)

    def encode(self, frozen, noise, image):
        return image

    def sample(self, frozen, noise, moments):
        return moments

    def features(self, decoder, latents, image, mask):
        return decoder["w"] * latents

    def to_pixels(self, decoder, features):
        return decoder["conv_out"]["kernel"] * features

    def criticise(self, critic, image):
        return jnp.mean(critic["v"] * image, axis=-1, keepdims=True)

    def perceptual(self, frozen, image, reconstruction):
        return jnp.mean(jnp.square(image - reconstruction), axis=(1, 2, 3))


def start(w: float = 2.0, k: float = 1.5, v: float = 0.25, step: int = 0) -> TrainState:
    parts = OneWeight()
    decoder = {"w": jnp.float32(w), "conv_out": {"kernel": jnp.float32(k)}}
    critic = {"v": jnp.float32(v)}
    average = jax.tree.map(jnp.copy, decoder)
    return TrainState(jnp.int32(step), decoder, average, critic, parts.decoder_tx.init(decoder), parts.critic_tx.init(critic))


def update(loss: LossConfig, state: TrainState, *, ema: float = 0.75, awake: bool = True, pixels=PIXELS):
    return train_step(OneWeight(), loss, ema, {}, jax.random.key(0), state, pixels, critic_awake=awake)


def test_gradients_match_hand_calculation():
    loss = LossConfig(perceptual=1.0, adversarial=0.5, critic_start=0, adversarial_start=0)
    state, metrics = update(loss, start())
    # x = 1, w = 2, k = 3/2: reconstruction r = 3, over by 2.
    # Summed over N = 12 elements, averaged over the batch: nll = N (|r - x| + (r - x)^2) = 12 (2 + 4).
    # d nll/dr in total = 12 (1 + 2*2) = 60. dr/dk = w x = 2; dr/dw = k x = 1.5.
    # g = -mean(v r): d g/dr in total = -v = -1/4, so d nll/dk = 120 and d g/dk = -1/2.
    # lambda = 0.5 * 120 / (0.5 + 1e-4).
    weight = 0.5 * 120 / 0.5001
    np.testing.assert_allclose(metrics["adaptive_weight"], weight, rtol=1e-6)
    at_reconstruction = 60 - weight * 0.25
    np.testing.assert_allclose(state.decoder["conv_out"]["kernel"], 1.5 - 2 * at_reconstruction, rtol=1e-5)
    np.testing.assert_allclose(state.decoder["w"], 2.0 - 1.5 * at_reconstruction, rtol=1e-5)
    # real = 1/4, fake = 3/4: inside both margins, d critic/dv = 0.5 (-x + r) = 1.
    np.testing.assert_allclose(metrics["loss/critic"], 0.5 * (0.75 + 1.75), rtol=1e-6)
    np.testing.assert_allclose(state.critic["v"], 0.25 - 1.0, rtol=1e-6)
    np.testing.assert_allclose(metrics["loss/total"], 72 - weight * 0.75, rtol=1e-5)
    # At step 0 the average's decay is min(0.75, 1/10).
    np.testing.assert_allclose(state.average["w"], 0.1 * 2.0 + 0.9 * state.decoder["w"], rtol=1e-5)
    assert state.step == 1


def test_squared_error_is_the_other_pixel_loss():
    state, _ = update(LossConfig(pixel="l2", perceptual=0, adversarial=0), start(), awake=False)
    # d/dr of N (r - x)^2 = 12 * 2 * 2 = 48.
    np.testing.assert_allclose(state.decoder["w"], 2.0 - 1.5 * 48, rtol=1e-6)


@pytest.mark.parametrize(("step", "critic_moves", "felt"), [(4, False, False), (5, True, False), (7, True, True)])
def test_critic_learns_first_and_is_felt_later(step, critic_moves, felt):
    loss = LossConfig(perceptual=0, adversarial=0.5, critic_start=5, adversarial_start=7)
    state, _ = update(loss, start(step=step), awake=step >= loss.critic_start)
    assert (state.critic["v"] != 0.25) == critic_moves
    alone = 2.0 - 1.5 * 12  # d nll/dr = 12, dr/dw = k = 1.5
    assert np.isclose(state.decoder["w"], alone, rtol=1e-6) != felt


def test_bound_of_the_adaptive_weight_comes_before_the_factor():
    loss = LossConfig(perceptual=0, adversarial=0.5, adaptive_max=3.0, critic_start=0, adversarial_start=0)
    _, metrics = update(loss, start())
    np.testing.assert_allclose(metrics["adaptive_weight"], 1.5, rtol=1e-6)


def test_a_step_that_is_not_finite_changes_nothing():
    state, metrics = update(LossConfig(perceptual=0, adversarial=0), start(w=np.inf), awake=False)
    assert metrics["finite"] == 0
    assert state.decoder["w"] == np.inf
    assert state.decoder["conv_out"]["kernel"] == 1.5
    assert state.step == 1


def test_the_average_settles_to_its_decay():
    # Far into a run min(0.75, (1 + n) / (10 + n)) is 0.75.
    state, _ = update(LossConfig(perceptual=0, adversarial=0), start(step=1000), awake=False)
    np.testing.assert_allclose(state.average["w"], 0.75 * 2.0 + 0.25 * state.decoder["w"], rtol=1e-6)


def test_no_sum_of_an_update_uses_large_tiles():
    """Sixteen products each time, forward, at the inputs and at the kernel; of large tiles there would be 36."""
    kernel = jnp.ones((3, 3, 128, 128))

    class Wide(OneWeight):
        def features(self, decoder, latents, image, mask):
            wide = jnp.broadcast_to(latents[..., :1], (*latents.shape[:3], 128))
            return convolve(wide, decoder["w"] * kernel, (1, 1), ((1, 1), (1, 1)))[..., :3]

    program = jax.make_jaxpr(lambda state, pixels: find(Wide(), state, pixels))(start(), jnp.zeros((1, 48, 48, 3)))
    assert str(program).count("dot_general[") == 3 * 16


def find(parts, state, image):
    batch = Batch(image, image[..., :1], image)
    return find_gradients(parts, LossConfig(perceptual=0.0), {}, state, batch, critic_awake=False).gradients

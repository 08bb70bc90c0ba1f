"""Schedules against the check values of the published base run (172,824 steps, warm-up 5,000, critic from 50,001)."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from asym_jax.config import OptimConfig
from asym_jax.errors import InputError
from asym_jax.training.optim import critic_optimiser, critic_schedule, decoder_optimiser, decoder_schedule, group_of

BASE = OptimConfig()
CRITIC_START = 50_001

# step: condition encoder, rest of the decoder, critic
CHECK_VALUES = {
    0: (3.6e-6, 3.6e-7, 0),
    1_000: (7.488e-5, 7.488e-6, 0),
    5_000: (3.6e-4, 3.6e-5, 0),
    50_001: (3.000e-4, 3.015e-5, 0),
    50_002: (None, None, 3.671e-6),
    55_001: (2.869e-4, 2.888e-5, 3.6e-4),
    60_000: (2.730e-4, 2.752e-5, 3.584e-4),
    100_000: (1.435e-4, 1.489e-5, 2.456e-4),
    150_000: (1.714e-5, 2.573e-6, 3.323e-5),
    172_824: (1e-6, 1e-6, 1e-6),
}


@pytest.mark.parametrize("step", CHECK_VALUES)
def test_published_rates(step):
    schedules = (decoder_schedule(BASE, 1.0), decoder_schedule(BASE, 0.1), critic_schedule(BASE, CRITIC_START))
    for schedule, expected in zip(schedules, CHECK_VALUES[step], strict=True):
        if expected is not None:
            # The check values have four digits.
            np.testing.assert_allclose(schedule(step), expected, rtol=5e-4, atol=0)


def test_rates_stay_at_the_end_value_beyond_the_end():
    np.testing.assert_allclose(decoder_schedule(BASE, 0.1)(200_000), 1e-6, rtol=1e-5)


def test_first_adam_step_moves_each_group_by_its_own_rate():
    config = OptimConfig(steps=10, warmup_steps=0, learning_rate=1e-2, groups=(("condition_encoder", 1.0), (".*", 0.1)))
    params = {"condition_encoder": {"kernel": jnp.array([1.0])}, "conv_in": {"kernel": jnp.array([1.0])}}
    gradients = {"condition_encoder": {"kernel": jnp.array([3.0])}, "conv_in": {"kernel": jnp.array([-0.2])}}
    optimiser = decoder_optimiser(config, params)
    updates, _ = optimiser.update(gradients, optimiser.init(params), params)
    # Adam's first step is the sign of the gradient times the rate.
    np.testing.assert_allclose(updates["condition_encoder"]["kernel"], [-1e-2], rtol=1e-5)
    np.testing.assert_allclose(updates["conv_in"]["kernel"], [1e-3], rtol=1e-5)


def test_sleeping_critic_does_not_move_but_counts():
    config = OptimConfig(steps=100, warmup_steps=0, learning_rate=1e-2)
    optimiser = critic_optimiser(config, start=3)
    params = {"kernel": jnp.array([1.0])}
    state = optimiser.init(params)
    for _ in range(4):  # steps 0 to 3
        updates, state = optimiser.update({"kernel": jnp.zeros(1)}, state, params)
        np.testing.assert_array_equal(updates["kernel"], [0.0])
    updates, state = optimiser.update({"kernel": jnp.ones(1)}, state, params)
    # Reference section 6: with the counter at 5, both bias corrections are not those of a first step.
    mean, square = (1 - 0.5) / (1 - 0.5**5), (1 - 0.9) / (1 - 0.9**5)
    rate = float(critic_schedule(config, 3)(4))
    np.testing.assert_allclose(updates["kernel"], [-rate * mean / np.sqrt(square)], rtol=1e-5)


def test_groups_must_cover_everything_and_be_used():
    params = {"conv_in": {"kernel": jnp.ones(1)}}
    with pytest.raises(InputError, match="conv_in/kernel"):
        group_of([("condition_encoder", 1.0)], params)
    with pytest.raises(InputError, match="condition_encodr"):
        group_of([("condition_encodr", 1.0), (".*", 0.1)], params)


def test_final_rate_is_absolute_whatever_the_group():
    for multiplier in (1.0, 0.1, 0.01):
        schedule = decoder_schedule(OptimConfig(steps=100, warmup_steps=10, learning_rate=1e-2), multiplier)
        np.testing.assert_allclose(schedule(100), 1e-6, rtol=1e-4)


def test_adam_agrees_with_optax_alias():
    """The chain is Adam itself, not a look-alike with the rate in the wrong place."""
    config = OptimConfig(steps=10, warmup_steps=0, learning_rate=1e-2, final_learning_rate=1e-2, groups=((".*", 1.0),))
    params = {"kernel": jnp.array([1.0, -2.0])}
    ours, theirs = decoder_optimiser(config, params), optax.adam(1e-2, b1=0.5, b2=0.9, eps=1e-8)
    state, other = ours.init(params), theirs.init(params)
    for gradient in ([0.3, -1.0], [-0.1, 2.0], [0.0, 0.5]):
        one, state = ours.update({"kernel": jnp.array(gradient)}, state, params)
        two, other = theirs.update({"kernel": jnp.array(gradient)}, other, params)
        np.testing.assert_allclose(one["kernel"], two["kernel"], rtol=1e-6)

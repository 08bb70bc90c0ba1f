"""DDIM's and PLMS's tables against PyTorch's schedulers, on a network that is a formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diffusers import DDIMScheduler, PNDMScheduler  # noqa: E402

from asym_jax.errors import InputError  # noqa: E402
from asym_jax.pipelines.denoise import FIRST_STEP, denoise, noise_for, picture_keys  # noqa: E402
from asym_jax.pipelines.schedule import Sampling, table  # noqa: E402
from tests.pipelines.tiny import BETAS, channels_first  # noqa: E402

CASES = [("ddim", 50, 1.0), ("ddim", 7, 0.3), ("plms", 50, 0.0), ("plms", 2, 0.0), ("plms", 1, 0.0)]


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(
    ("name", "steps", "eta"), [("ddim", 50, 1.0), ("ddim", 7, 0.3), ("plms", 50, 0.0), ("plms", 2, 0.0), ("plms", 1, 0.0)]
)
def test_same_way_as_pytorch(name, steps, eta, prediction):
    kind = DDIMScheduler if name == "ddim" else PNDMScheduler
    extra = {"clip_sample": False} if name == "ddim" else {"skip_prk_steps": True}
    scheduler = kind(**BETAS, **extra, set_alpha_to_one=False, prediction_type=prediction)
    keys = picture_keys(3, np.arange(2))
    start = np.asarray(noise_for(keys, 0, (2, 3, 4)))
    ours = denoise(
        lambda x, t: 0.3 * jnp.sin(3 * x + t / 100) + 0.5 * x,
        table(scheduler.config, Sampling(name, steps, eta)),
        jnp.asarray(start),
        keys,
        noisy=eta > 0,
    )
    theirs = channels_first(start)
    scheduler.set_timesteps(steps)
    for i, time in enumerate(scheduler.timesteps):
        fresh = channels_first(noise_for(keys, FIRST_STEP + i, (2, 3, 4)))
        given = {"eta": eta, "variance_noise": fresh} if eta else {}
        theirs = scheduler.step(0.3 * torch.sin(3 * theirs + time / 100) + 0.5 * theirs, time, theirs, **given).prev_sample
    np.testing.assert_allclose(ours.transpose(0, 3, 1, 2), theirs.numpy(), atol=2e-4)


def test_the_noise_of_a_picture_is_its_own():
    together = noise_for(picture_keys(1, np.array([5, 8])), 0, (2, 2, 1))
    np.testing.assert_array_equal(together[1:], noise_for(picture_keys(1, np.array([8])), 0, (2, 2, 1)))
    seeds = [noise_for(picture_keys(seed, np.array([8])), role, (2, 2, 1)) for seed, role in ((1, 0), (2, 0), (1, 1))]
    assert len({float(noise[0, 0, 0, 0]) for noise in seeds}) == 3
    with jax.numpy_dtype_promotion("strict"):
        picture_keys(0, np.array([-1], np.int32))  # a row that only fills up a batch


@pytest.mark.parametrize(
    ("config", "sampling", "message"),
    [
        ({"clip_sample": True}, Sampling(), "clip_sample=True"),
        ({"timestep_spacing": "trailing"}, Sampling(), "timestep_spacing='trailing'"),
        ({"beta_schedule": "squaredcos_cap_v2"}, Sampling(), "beta_schedule is 'squaredcos_cap_v2'"),
        ({"prediction_type": "flow"}, Sampling(), "prediction_type is 'flow'"),
        ({}, Sampling(steps=0), "0 steps"),
        ({}, Sampling("plms", eta=0.5), "eta=0.5"),
        ({}, Sampling("euler"), "'euler' is not known"),
    ],
)
def test_what_cannot_be_is_refused(config, sampling, message):
    with pytest.raises(InputError, match=message):
        table(config, sampling)

"""DDIM and PLMS as tables: for each evaluation of the network, the numbers with which its result changes the latents.

Both samplers are linear in what the network gave now and before, so a row of
numbers per evaluation says all. DDIM: arXiv 2010.02502, equations 12 and 16. PLMS:
arXiv 2202.09778, equations 9 and 12, begun with one Euler step that is taken again
with the mean of two slopes, as Stable Diffusion does it.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from asym_jax.errors import InputError


class Sampling(NamedTuple):
    """How latents are drawn."""

    sampler: Literal["ddim", "plms"] = "ddim"
    steps: int = 50
    eta: float = 0.0  # of DDIM: 0 adds no noise on the way, 1 as much as DDPM
    guidance: float = 7.5  # of classifier-free guidance; up to 1, there is none


INPAINTING = Sampling("ddim", 50, eta=1.0, guidance=7.5)
TEXT_TO_IMAGE = Sampling("plms", 50, guidance=7.5)
PAINT_BY_EXAMPLE = Sampling("plms", 50, guidance=5.0)
"""What the paper's scripts use."""


class Table(NamedTuple):
    """One row per evaluation, n of them."""

    timestep: Int[Array, " n"]
    base: Float[Array, " n"]  # what remains of the latents that the step starts from
    slopes: Float[Array, "n 4"]  # what is added of the network's results: this one, and the last three that were remembered
    noise: Float[Array, " n"]  # what is added of fresh noise
    again: Bool[Array, " n"]  # whether the step starts where the one before started
    remembered: Bool[Array, " n"]


ONLY: Mapping[str, Any] = {
    "timestep_spacing": "leading",
    "rescale_betas_zero_snr": False,
    "thresholding": False,
    "clip_sample": False,
    "skip_prk_steps": True,
}
"""Settings of diffusers' schedulers that must have these values, where they are given."""


def table(config: Mapping[str, Any], sampling: Sampling) -> Table:
    """The rows for a scheduler's config as diffusers writes it, whatever its class.

    Raises:
        InputError: the config asks for something else than Stable Diffusion's DDIM and PLMS do, or `sampling` is impossible.
    """
    trained = int(config.get("num_train_timesteps", 1000))
    _check(config, sampling, trained)
    remaining = np.cumprod(1 - _betas(config, trained))
    last = 1.0 if config.get("set_alpha_to_one", sampling.sampler == "ddim") else remaining[0]
    stride = trained // sampling.steps
    times = np.arange(sampling.steps)[::-1] * stride + int(config.get("steps_offset", 0))
    if times[0] >= trained:
        raise InputError(f"steps_offset={config['steps_offset']} leads beyond the {trained} steps of the training")
    rows = _ddim_rows(times) if sampling.sampler == "ddim" else _plms_rows(times)
    prediction = config.get("prediction_type", "epsilon")
    filled = []
    for row in rows:
        now = remaining[row.start]
        after = remaining[row.start - stride] if row.start >= stride else last
        base, slope, noise = _step(now, after, sampling.eta, prediction)
        filled.append((row.evaluated, base, slope * np.asarray(row.weights), noise, row.again, row.remembered))
    columns = [np.asarray(column) for column in zip(*filled, strict=True)]
    return Table(*(jnp.asarray(c, jnp.float32 if c.dtype == np.float64 else c.dtype) for c in _narrow(columns)))


class _Row(NamedTuple):
    evaluated: int  # the time that the network is told
    start: int  # the time at which the step starts
    weights: tuple[float, float, float, float]
    again: bool = False
    remembered: bool = True


EULER = (1.0, 0.0, 0.0, 0.0)
MEAN = (0.5, 0.5, 0.0, 0.0)
MULTISTEP = (
    (1.5, -0.5, 0.0, 0.0),
    (23 / 12, -16 / 12, 5 / 12, 0.0),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Adams-Bashforth of the second, third and fourth order."""


def _ddim_rows(times: np.ndarray) -> list[_Row]:
    return [_Row(time, time, EULER, remembered=False) for time in times]


def _plms_rows(times: np.ndarray) -> list[_Row]:
    """The first step is taken twice, unless it is the only one."""
    rows = [_Row(times[0], times[0], EULER)]
    if len(times) > 1:
        rows.append(_Row(times[1], times[0], MEAN, again=True, remembered=False))
    rows += [_Row(time, time, MULTISTEP[min(i, 2)]) for i, time in enumerate(times[1:])]
    return rows


def _step(now: float, after: float, eta: float, prediction: str) -> tuple[float, float, float]:
    """Factors of latents, network's result and noise, for a step between two shares of signal (alpha-bar)."""
    noise = eta * math.sqrt((1 - after) / (1 - now) * (1 - now / after))
    base = math.sqrt(after / now)
    slope = math.sqrt(max(1 - after - noise**2, 0.0)) - math.sqrt(after * (1 - now) / now)
    if prediction == "v_prediction":  # epsilon = sqrt(now) v + sqrt(1 - now) x
        return base + slope * math.sqrt(1 - now), slope * math.sqrt(now), noise
    if prediction == "sample":  # epsilon = (x - sqrt(now) x0) / sqrt(1 - now)
        return base + slope / math.sqrt(1 - now), -slope * math.sqrt(now / (1 - now)), noise
    return base, slope, noise


def _betas(config: Mapping[str, Any], trained: int) -> np.ndarray:
    """Variances of the noise of each training step."""
    first, last = float(config.get("beta_start", 0.0001)), float(config.get("beta_end", 0.02))
    kind = config.get("beta_schedule", "linear")
    if config.get("trained_betas") is not None:
        return np.asarray(config["trained_betas"], np.float64)
    if kind == "linear":
        return np.linspace(first, last, trained)
    if kind == "scaled_linear":
        return np.linspace(first**0.5, last**0.5, trained) ** 2
    raise InputError(f"the scheduler's beta_schedule is {kind!r}; linear and scaled_linear are known here")


def _check(config: Mapping[str, Any], sampling: Sampling, trained: int) -> None:
    for name, value in ONLY.items():
        if config.get(name, value) != value:
            raise InputError(f"the scheduler's config says {name}={config[name]!r}; DDIM and PLMS here need {value!r}")
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise InputError(f"the scheduler's prediction_type is {prediction!r}; epsilon, v_prediction and sample are known here")
    if sampling.sampler not in ("ddim", "plms"):
        raise InputError(f"the sampler {sampling.sampler!r} is not known; there are ddim and plms")
    if not 1 <= sampling.steps <= trained:
        raise InputError(f"{sampling.steps} steps are not between 1 and the {trained} of the training")
    if not 0 <= sampling.eta <= 1 or (sampling.eta and sampling.sampler != "ddim"):
        raise InputError(f"eta={sampling.eta} must be between 0 and 1, and 0 for another sampler than ddim")


def _narrow(columns: list[np.ndarray]) -> list[np.ndarray]:
    """Whole numbers as int32: 64 bits are off in JAX."""
    return [column.astype(np.int32) if column.dtype == np.int64 else column for column in columns]

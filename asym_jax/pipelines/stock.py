"""Being called as diffusers' own Flax pipelines are, without the mistakes of version 0.39.0 (docs/pipelines.md lists them)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from diffusers import FlaxPNDMScheduler
from diffusers.pipelines.stable_diffusion import FlaxStableDiffusionPipelineOutput
from jaxtyping import Float

from asym_jax.arrays import Params
from asym_jax.errors import InputError
from asym_jax.pipelines.inputs import require_size
from asym_jax.pipelines.quiet import no_farewell

FEWEST_RUNGE_KUTTA_STEPS = 4
"""FlaxPNDMScheduler begins with so many, unless it is told to skip them."""


def call_stock(
    pipeline: Any,
    call: Callable[..., Any],
    arrays: tuple[Any, ...],
    params: Params,
    prng_seed: jax.Array | np.ndarray,
    *,
    size: tuple[int, int],
    steps: int,
    guidance_scale: Any,
    return_dict: bool,
    jit: bool,
    **optional: Any,
) -> Any:
    """diffusers' `call`, with what it gets wrong put right.

    Args:
        arrays: what comes before `params`.
        size: height and width of the result.
        optional: `latents` and `neg_prompt_ids`.

    Raises:
        InputError: the size or the number of steps is not possible, or there is more than one guidance.
    """
    require_size(*size, pipeline.multiple)
    scheduler = pipeline.scheduler
    if isinstance(scheduler, FlaxPNDMScheduler) and not scheduler.config.skip_prk_steps and steps < FEWEST_RUNGE_KUTTA_STEPS:
        raise InputError(
            f"diffusers' FlaxPNDMScheduler with skip_prk_steps=False cannot do {steps} steps; take {FEWEST_RUNGE_KUTTA_STEPS} or "
            "more, skip_prk_steps=True as Stable Diffusion has it, or `generate`"
        )
    if np.ndim(guidance_scale):
        raise InputError("guidance_scale must be one number for all pictures")
    # A scalar for each device goes with every shape; diffusers would make a row of it that fits no batch but that of one picture.
    guidance = jnp.full(arrays[0].shape[:1] if jit else (), guidance_scale, jnp.float32)
    checker, pipeline.safety_checker = pipeline.safety_checker, None  # it misreads shapes without `jit`
    try:
        with no_farewell():
            result = call(*arrays, params, prng_seed, steps, *size, guidance, return_dict=False, jit=jit, **optional)
    finally:
        pipeline.safety_checker = checker
    images, flagged = _checked(pipeline, np.array(result[0]), params, jit)
    return FlaxStableDiffusionPipelineOutput(images=images, nsfw_content_detected=flagged) if return_dict else (images, flagged)


def _checked(pipeline: Any, images: Float[np.ndarray, "..."], params: Params, jit: bool) -> tuple[np.ndarray, Any]:
    """Pictures in [0, 1], black where the safety checker objects; False stands for no checker, as in diffusers."""
    if pipeline.safety_checker is None:
        return images, False
    one = jax.tree.map(lambda leaf: leaf[0], params["safety_checker"]) if jit else params["safety_checker"]
    rows = images.reshape(-1, *images.shape[-3:])
    finished = pipeline.finish({"safety_checker": one}, rows * 2 - 1)
    rows[finished.flagged] = 0
    return rows.reshape(images.shape), finished.flagged.tolist()

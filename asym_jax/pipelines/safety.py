"""Stable Diffusion's safety checker, with the arithmetic that current JAX runs.

diffusers 0.39 calls `jnp.clip(..., a_min=...)`, which JAX no longer has. This one
has the same parameters and gives the same answers.
"""

import jax.numpy as jnp
from diffusers.pipelines.stable_diffusion.safety_checker_flax import (
    FlaxStableDiffusionSafetyChecker,
    FlaxStableDiffusionSafetyCheckerModule,
)
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float
from transformers import CLIPConfig

SPECIAL_CARE = 0.01
"""Added to every score of a picture that needs special care."""


def _cosines(one: Float[Array, "b c"], other: Float[Array, "k c"]) -> Float[Array, "b k"]:
    units = [rows / jnp.maximum(jnp.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (one, other)]
    return units[0] @ units[1].T


class SafetyCheckerModule(FlaxStableDiffusionSafetyCheckerModule):
    """Which pictures are too near to one of the concepts."""

    dtype: DTypeLike = jnp.float32

    def __call__(self, clip_input: Float[Array, "b S S 3"]) -> Bool[Array, " b"]:
        embedded = self.visual_projection(self.vision_model(clip_input)[1])
        special = _cosines(embedded, self.special_care_embeds) - self.special_care_embeds_weights[None, :]
        care = jnp.any(jnp.round(special, 3) > 0, axis=1, keepdims=True) * SPECIAL_CARE
        scores = _cosines(embedded, self.concept_embeds) - self.concept_embeds_weights[None, :] + care
        return jnp.any(jnp.round(scores, 3) > 0, axis=1)


class SafetyChecker(FlaxStableDiffusionSafetyChecker):
    """As diffusers' class, around `SafetyCheckerModule`."""

    module_class = SafetyCheckerModule


def safety_checker(config: CLIPConfig) -> SafetyChecker:
    """One without parameters, for pictures of the size in `config` (diffusers always takes 224)."""
    side = config.vision_config.image_size
    return SafetyChecker(config, input_shape=(1, side, side, 3), _do_init=False)

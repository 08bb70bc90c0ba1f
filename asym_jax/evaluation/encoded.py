"""Latents of the reconstruct task: what the autoencoder's own encoder says of the whole picture."""

from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import Array

from asym_jax.arrays import Images, Latents, Params
from asym_jax.data.evaluation_sets.examples import EvaluationExample
from asym_jax.evaluation.subjects import Subjects
from asym_jax.evaluation.versions import PRECISION
from asym_jax.models.vq import VQModel


class EncodedLatents:
    """The posterior's mean of the whole picture, hole included; with a codebook, the entries nearest to the encoder's output."""

    masked = True

    def __init__(self, subjects: Subjects) -> None:
        self._vae, self.params = subjects.vae, subjects.vae_params
        with_codebook = isinstance(subjects.vae, VQModel)
        self.described = "nearest entries of the codebook" if with_codebook else "mean of the posterior of the whole picture"

    def inputs(self, example: EvaluationExample) -> Mapping[str, Any]:
        return {}

    def latents(self, params: Params, images: Images, batch: Mapping[str, Array]) -> Latents:
        with jax.default_matmul_precision(PRECISION):
            return self._vae.apply({"params": params}, images, method="encode").mean

"""What the network is told besides the latents."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from asym_jax.arrays import Latents, OneOrAllImages, Params
from asym_jax.pipelines.vae import FlaxConditionedAutoencoderKL


def scaled_posterior(vae: FlaxConditionedAutoencoderKL, params: Params, images: OneOrAllImages, noise: Latents) -> Latents:
    """Latents of pictures as the network knows them: a sample of the posterior, scaled. One picture may stand for all noise."""
    posterior = vae.model.apply({"params": params}, images, method="encode")
    posterior = jax.tree.map(lambda moment: jnp.broadcast_to(moment, noise.shape), posterior)
    return posterior.at(noise) * vae.config.scaling_factor


def embed_words(pipeline: Any, params: Params, ids: Array, negative_ids: Array, guided: bool) -> Float[Array, "b g t c"]:
    """What guides each picture: embeddings of nothing (or of what is not wanted) and of the words, or of these alone."""
    both = (negative_ids, ids) if guided else (ids,)
    return jnp.stack([pipeline.text_encoder(words, params=params)[0] for words in both], axis=1)

"""Our autoencoders in diffusers' place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.models.autoencoder import AsymmetricAutoencoderKL
from asym_jax.pipelines.vae import FlaxConditionedAutoencoderKL

MODEL = AsymmetricAutoencoderKL((4, 8), 1, (8, 8), 1, norm_num_groups=4)


@pytest.mark.slow
def test_same_parameters_and_channels_first_whatever_the_width():
    adapter = FlaxConditionedAutoencoderKL.of(MODEL)
    params = adapter.init_weights(jax.random.key(0))
    images = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (1, 12, 8, 3)), jnp.float32)
    latents = MODEL.apply({"params": params}, images, method="encode").mean
    assert latents.shape == (1, 6, 4, 4)  # as wide as there are channels: diffusers takes one for the other
    encoded = adapter.apply({"params": params}, images.transpose(0, 3, 1, 2), method=adapter.encode).latent_dist
    np.testing.assert_array_equal(encoded.mean, latents)
    mask = jnp.ones((1, 12, 8, 1)).at[:, 3:5].set(0)
    for condition in ({}, {"image": images, "mask": mask}):
        ours = MODEL.apply({"params": params}, latents, **condition, method="decode")
        first = {name: array.transpose(0, 3, 1, 2) for name, array in condition.items()}
        theirs = adapter.apply({"params": params}, latents.transpose(0, 3, 1, 2), **first, method=adapter.decode).sample
        np.testing.assert_array_equal(theirs, ours.transpose(0, 3, 1, 2))


def test_what_diffusers_reads_and_its_casts():
    adapter = FlaxConditionedAutoencoderKL.of(MODEL)
    assert (adapter.config.block_out_channels, adapter.config.latent_channels, adapter.config.scaling_factor) == (
        (4, 8),
        4,
        0.18215,
    )
    params = {"a": jnp.ones(2), "b": jnp.arange(2)}
    cast = adapter.to_bf16(params)
    assert (cast["a"].dtype, cast["b"].dtype) == (jnp.bfloat16, jnp.int32)
    assert adapter.to_fp32(adapter.to_fp16(params))["a"].dtype == jnp.float32

"""Hinge objectives of the patch critic, averaged over pictures and patches."""

import jax
import jax.numpy as jnp

from asym_jax.arrays import Logits, Scalar


def critic_hinge(real: Logits, fake: Logits) -> Scalar:
    """What the critic minimises: zero once real patches score above +1 and decoded ones below -1."""
    return 0.5 * (jnp.mean(jax.nn.relu(1 - real)) + jnp.mean(jax.nn.relu(1 + fake)))


def decoder_loss(fake: Logits) -> Scalar:
    """What the decoder minimises: falls without bound as the critic takes decoded patches for real."""
    return -jnp.mean(fake)

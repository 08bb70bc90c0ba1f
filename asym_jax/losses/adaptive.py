"""The weight that keeps the adversarial gradient in proportion to the reconstruction gradient."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from asym_jax.arrays import Scalar

EPSILON = 1e-4
"""Added to the norm of the adversarial gradient."""


def adaptive_weight(
    reconstruction_gradient: Float[Array, "*kernel"],
    adversarial_gradient: Float[Array, "*kernel"],
    *,
    factor: float,
    maximum: float,
) -> Scalar:
    """factor * clip(|reconstruction_gradient| / (|adversarial_gradient| + 1e-4), 0, maximum), a constant to differentiation.

    Both are gradients with respect to the kernel of the decoder's last convolution
    (VQGAN, arXiv 2012.09841, equation 7). The bound comes before the factor, so
    the largest weight is `factor * maximum`.

    The published maximum of 1e4 belongs to a reconstruction loss that is *summed* over
    the N values of each picture (N = 196,608 at 256 pixels) and averaged over the
    batch. With a loss averaged over those values too, the first gradient is N times
    smaller, and `maximum` must be 1e4 / N for the same balance; 1e4 would never bind.
    """
    reconstruction, adversarial = (
        jnp.sqrt(jnp.sum(jnp.square(jax.lax.stop_gradient(gradient))))
        for gradient in (reconstruction_gradient, adversarial_gradient)
    )
    return factor * jnp.clip(reconstruction / (adversarial + EPSILON), 0.0, maximum)

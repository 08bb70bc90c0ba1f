"""Peak signal-to-noise ratio."""

import jax.numpy as jnp

from asym_jax.arrays import PerImage, Pixels


def psnr(pixels: Pixels, reconstruction: Pixels) -> PerImage:
    """10 log10(255^2 / mean squared error) of each picture, in dB; infinite for equal pictures.

    The average over pictures is a mean of these, not the PSNR of the mean error;
    leave the infinite ones out of it and say how many there were.
    """
    difference = pixels.astype(jnp.float32) - reconstruction.astype(jnp.float32)
    # Row by row first: one long float32 sum would lose digits.
    error = jnp.mean(jnp.square(difference), axis=(2, 3)).mean(axis=1)
    return 10 * jnp.log10(255.0**2 / error)

"""From what a decoder gives to what an image file holds: all picture metrics look at the latter."""

from typing import Literal

import jax.numpy as jnp

from asym_jax.arrays import Images, Pixels

Quantisation = Literal["round", "floor"]


def quantise(images: Images, how: Quantisation = "round") -> Pixels:
    """Pictures in [-1, 1] as 0..255; values beyond are clipped.

    "round" takes the nearest level. "floor" is what the reference's scripts do
    when they cast to uint8; it alone costs 2.05e-5 of mean squared error in [-1, 1]
    (4/3 / 255^2), as much as the whole Pre_error of a good decoder.
    """
    levels = jnp.clip((images + 1) / 2, 0.0, 1.0) * 255
    return (jnp.round(levels) if how == "round" else jnp.floor(levels)).astype(jnp.uint8)

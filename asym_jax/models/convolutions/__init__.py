"""Convolutions that come to the same numbers with less work.

`convolve` and `convolve_doubled` stand in for `jax.lax.conv_general_dilated` inside `flax.linen.Conv`; parameters stay
what they are.
"""

from asym_jax.models.convolutions.chosen import convolve, convolve_doubled

__all__ = ["convolve", "convolve_doubled"]

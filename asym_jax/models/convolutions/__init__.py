"""Convolutions that come to the same numbers with less work.

`convolve` and `convolve_doubled` stand in for `jax.lax.conv_general_dilated` inside `flax.linen.Conv`; parameters stay
what they are. `at_most` bounds how far rounding may go for that.
"""

from asym_jax.models.convolutions.chosen import at_most, convolve, convolve_doubled

__all__ = ["at_most", "convolve", "convolve_doubled"]

"""Names for the shapes of arrays, in one place.

Arrays are channels-last. Letters used in every annotation of the package:

    b  pictures in a batch          c  feature channels
    H W  picture height and width   z  latent channels (4 for Stable Diffusion)
    h w  feature or latent size     k  classes, taps or groups
"""

from collections.abc import Sequence

from jaxtyping import Array, Float, Key, PyTree, UInt8

Images = Float[Array, "b H W 3"]
"""Pictures in [-1, 1]."""

Pixels = UInt8[Array, "b H W 3"]
"""Pictures as files store them, in 0..255."""

Mask = Float[Array, "b H W 1"]
"""1 where the picture is to be regenerated, 0 where it must survive; soft values are allowed."""

OneOrAllImages = Float[Array, "#b H W 3"]
OneOrAllMasks = Float[Array, "#b H W 1"]
"""As `Images` and `Mask`; one of them may stand for the whole batch."""

Latents = Float[Array, "b h w z"]
"""Unscaled latents: Stable Diffusion's `scaling_factor` is the business of the pipelines."""

Moments = Float[Array, "b h w _"]
"""Mean and log-variance of latents side by side; with a codebook, the latents alone."""

Features = Float[Array, "b h w c"]

NewFeatures = Float[Array, "b _ _ _"]
"""Features of another size or width than the `Features` beside them."""

Pyramid = Sequence[NewFeatures]
"""Features of several sizes and widths."""

Logits = Float[Array, "b h w 1"]
PerImage = Float[Array, " b"]
Scalar = Float[Array, ""]
PRNGKey = Key[Array, ""]
Params = PyTree
"""A nested dict of arrays, as `model.init(...)["params"]` gives it."""

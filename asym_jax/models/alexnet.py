"""The convolutions of AlexNet, whose activations LPIPS compares (Krizhevsky 2014, "One weird trick", arXiv 1404.5997)."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from asym_jax.arrays import Images, Pyramid

LAYERS = ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))
"""Width, kernel, stride and border of each convolution."""

HALVED_BEFORE = (1, 2)
"""Positions of the convolutions that see maxima of every second 3x3 cell."""

SMALLEST_SIDE = 31
"""Pixels that leave one position after both poolings."""


class AlexNet(nn.Module):
    """Five convolutions, `conv0` to `conv4`, each followed by ReLU.

    Attributes:
        precision: of the float32 products, as in `VGG16`.
        dtype: as in `VGG16`.
    """

    precision: jax.lax.Precision = jax.lax.Precision.HIGHEST
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        for i, (width, kernel, stride, border) in enumerate(LAYERS):
            padding = ((border, border), (border, border))
            layer = nn.Conv(width, (kernel, kernel), (stride, stride), padding, dtype=self.dtype, precision=self.precision)
            setattr(self, f"conv{i}", layer)

    def __call__(self, images: Images) -> Pyramid:
        """The activations relu1 to relu5, largest first.

        `images` must already be normalised as the weights expect. Raises
        ValueError if a side is below 31 pixels, where nothing would reach the end.
        """
        if min(images.shape[1:3]) < SMALLEST_SIDE:
            raise ValueError(f"AlexNet needs pictures of at least {SMALLEST_SIDE} pixels a side; these have shape {images.shape}")
        taps = []
        features = images
        for i in range(len(LAYERS)):
            if i in HALVED_BEFORE:
                features = nn.max_pool(features, (3, 3), (2, 2))
            features = nn.relu(getattr(self, f"conv{i}")(features))
            taps.append(features)
        return taps

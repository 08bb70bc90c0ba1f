"""The convolutions of VGG16, whose activations LPIPS compares (Simonyan & Zisserman 2014, configuration D)."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from asym_jax.arrays import Features, Images, NewFeatures, Pyramid
from asym_jax.models.blocks import convolution

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Widths of the convolutions between two poolings."""

SMALLEST_SIDE = 16
"""Pixels that leave one position after four halvings."""


def halve_by_maximum(features: Features) -> NewFeatures:
    """The larger of every 2x2 cell; an odd last row or column is dropped, as PyTorch does.

    Slices and `maximum`, because the gradient of a window reduction is many times
    slower. Ties share the gradient, where PyTorch gives all of it to the first.
    """
    height, width = (side // 2 * 2 for side in features.shape[1:3])
    rows = jnp.maximum(features[:, 0:height:2], features[:, 1:height:2])
    return jnp.maximum(rows[:, :, 0:width:2], rows[:, :, 1:width:2])


class VGG16(nn.Module):
    """Thirteen convolutions, `conv0` to `conv12`, each followed by ReLU.

    Attributes:
        precision: of the float32 products. Accelerators would by default round the
            factors to TF32 or bfloat16, which moves LPIPS by 0.1%.
        dtype: of the convolutions and of what they give.
    """

    precision: jax.lax.Precision = jax.lax.Precision.HIGHEST
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        widths = [3, *(width for block in BLOCKS for width in block)]
        for i in range(len(widths) - 1):
            layer = convolution(widths[i], widths[i + 1], dtype=self.dtype)
            setattr(self, f"conv{i}", layer.copy(precision=self.precision))

    def __call__(self, images: Images) -> Pyramid:
        """The activations relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3, full resolution first.

        `images` must already be normalised as the weights expect. Raises
        ValueError if a side is below 16 pixels, where nothing would reach the end.
        """
        if min(images.shape[1:3]) < SMALLEST_SIDE:
            raise ValueError(f"VGG16 needs pictures of at least {SMALLEST_SIDE} pixels a side; these have shape {images.shape}")
        taps: list[Features] = []
        layer = 0
        features = images
        for block in BLOCKS:
            features = halve_by_maximum(taps[-1]) if taps else features
            for _ in block:
                features = nn.relu(getattr(self, f"conv{layer}")(features))
                layer += 1
            taps.append(features)
        return taps

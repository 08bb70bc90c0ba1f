"""The Inception network of December 2015, through which FID and the Inception Score look at pictures.

Szegedy et al. 2015 (arXiv 1512.00567) as TensorFlow published it: 1008 classes, no
auxiliary head. It is not torchvision's `inception_v3`: average poolings do not
count their padding, the last block pools by the maximum, and the weights are others.
"""

from typing import NamedTuple

import jax
from flax import linen as nn
from jaxtyping import Array, Float

from asym_jax.arrays import Features, Images, NewFeatures
from asym_jax.models.inception_blocks import Branches, HalvingBranches, Layer, NormedConv, halve, mean_of_positions

SIDE = 299
"""Pixels a side of the pictures that the weights were made for."""

SMALLEST_SIDE = 75
"""Pixels that leave one position at the end."""

CLASSES = 1008


class InceptionTaps(NamedTuple):
    """What the network says of each picture, from early to late; all but the last are means over positions."""

    pool1: Float[Array, "b 64"]
    pool2: Float[Array, "b 192"]
    middle: Float[Array, "b 768"]
    pool3: Float[Array, "b 2048"]  # what FID compares
    logits: Float[Array, "b 1008"]  # without the bias of the last layer: what the Inception Score is made of


def _at_35(pool: int, precision: jax.lax.Precision) -> Branches:
    chains = (
        (("branch1x1", 64, (1, 1)),),
        (("branch5x5_1", 48, (1, 1)), ("branch5x5_2", 64, (5, 5))),
        (("branch3x3dbl_1", 64, (1, 1)), ("branch3x3dbl_2", 96, (3, 3)), ("branch3x3dbl_3", 96, (3, 3))),
    )
    return Branches(chains, pool, {}, precision=precision)


def _at_17(width: int, precision: jax.lax.Precision) -> Branches:
    """`width` of the layers between the ends of a chain."""
    double: list[Layer] = [("branch7x7dbl_1", width, (1, 1))]
    double += [(f"branch7x7dbl_{i}", 192 if i == 5 else width, (7, 1) if i % 2 == 0 else (1, 7)) for i in range(2, 6)]
    chains = (
        (("branch1x1", 192, (1, 1)),),
        (("branch7x7_1", width, (1, 1)), ("branch7x7_2", width, (1, 7)), ("branch7x7_3", 192, (7, 1))),
        tuple(double),
    )
    return Branches(chains, 192, {}, precision=precision)


def _at_8(precision: jax.lax.Precision, *, by_maximum: bool) -> Branches:
    chains = (
        (("branch1x1", 320, (1, 1)),),
        (("branch3x3_1", 384, (1, 1)),),
        (("branch3x3dbl_1", 448, (1, 1)), ("branch3x3dbl_2", 384, (3, 3))),
    )
    forks = {
        1: (("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1))),
        2: (("branch3x3dbl_3a", 384, (1, 3)), ("branch3x3dbl_3b", 384, (3, 1))),
    }
    return Branches(chains, 192, forks, by_maximum, precision)


class Inception(nn.Module):
    """The whole network, in float32.

    Attributes:
        precision: of the float32 products. Accelerators would by default round the
            factors to TF32 or bfloat16, which moves pool3 by 0.4%.
    """

    precision: jax.lax.Precision = jax.lax.Precision.HIGHEST

    def setup(self) -> None:
        exact = self.precision
        self.Conv2d_1a_3x3 = NormedConv(32, (3, 3), stride=2, padded=False, precision=exact)
        self.Conv2d_2a_3x3 = NormedConv(32, (3, 3), padded=False, precision=exact)
        self.Conv2d_2b_3x3 = NormedConv(64, (3, 3), precision=exact)
        self.Conv2d_3b_1x1 = NormedConv(80, (1, 1), precision=exact)
        self.Conv2d_4a_3x3 = NormedConv(192, (3, 3), padded=False, precision=exact)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = (_at_35(pool, exact) for pool in (32, 64, 64))
        doubled = (("branch3x3dbl_1", 64, (1, 1)), ("branch3x3dbl_2", 96, (3, 3)), ("branch3x3dbl_3", 96, (3, 3)))
        self.Mixed_6a = HalvingBranches(((("branch3x3", 384, (3, 3)),), doubled), precision=exact)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = (_at_17(width, exact) for width in (128, 160, 160, 192))
        crossed = ((1, 1), (1, 7), (7, 1), (3, 3))
        long = tuple((f"branch7x7x3_{i + 1}", 192, kernel) for i, kernel in enumerate(crossed))
        short = (("branch3x3_1", 192, (1, 1)), ("branch3x3_2", 320, (3, 3)))
        self.Mixed_7a = HalvingBranches((short, long), precision=exact)
        self.Mixed_7b, self.Mixed_7c = _at_8(exact, by_maximum=False), _at_8(exact, by_maximum=True)
        self.fc = nn.Dense(CLASSES, use_bias=False, precision=exact)

    def __call__(self, images: Images) -> InceptionTaps:
        """Looks at pictures that are scaled as `metrics.inception_inputs` does.

        Any size will do, although only `SIDE` gives comparable numbers. Raises
        ValueError if a side is below 75 pixels, where nothing would reach the end.
        """
        if min(images.shape[1:3]) < SMALLEST_SIDE:
            raise ValueError(f"Inception needs pictures of at least {SMALLEST_SIDE} pixels a side; these have shape {images.shape}")
        pool1 = halve(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images))))
        pool2 = halve(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(pool1)))
        middle = self._middle(pool2)
        pool3 = mean_of_positions(self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(middle))))
        means = (mean_of_positions(features) for features in (pool1, pool2, middle))
        return InceptionTaps(*means, pool3, self.fc(pool3))

    def _middle(self, features: Features) -> NewFeatures:
        for block in (self.Mixed_5b, self.Mixed_5c, self.Mixed_5d, self.Mixed_6a):
            features = block(features)
        for block in (self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e):
            features = block(features)
        return features

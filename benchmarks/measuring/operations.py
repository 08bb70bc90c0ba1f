"""Floating-point operations by pencil: those of the direct convolutions, whatever trick computes them.

One multiplication and one addition are two operations. Counted are convolutions and matrix products, as profilers do it.
These counts, and not those of a compiler, turn seconds into FLOP/s, so that who needs fewer operations is faster and not
slower. They agree with PyTorch's counter on diffusers' modules (tests/benchmarks/test_operations.py).
"""

from collections.abc import Sequence
from typing import NamedTuple

VGG_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class Shape(NamedTuple):
    """What decides how much work an autoencoder is."""

    encoder: tuple[int, ...] = (128, 256, 512, 512)
    encoder_layers: int = 2
    decoder: tuple[int, ...] = (128, 256, 512, 512)
    decoder_layers: int = 2  # residual blocks per level, less one
    latents: int = 4


def convolution(side: int, kernel: int, narrow: int, wide: int) -> float:
    """`side` is that of the result."""
    return 2.0 * side * side * kernel * kernel * narrow * wide


def residual(side: int, narrow: int, wide: int) -> float:
    """Two 3x3 convolutions, and a 1x1 one if the width changes."""
    shortcut = convolution(side, 1, narrow, wide) if narrow != wide else 0.0
    return convolution(side, 3, narrow, wide) + convolution(side, 3, wide, wide) + shortcut


def middle(side: int, width: int) -> float:
    """Two residual blocks around attention: four linear layers, and every position with every other, twice."""
    return 2 * residual(side, width, width) + 4 * convolution(side, 1, width, width) + 4.0 * side**4 * width


def encoder(shape: Shape, size: int) -> float:
    """One picture of `size` pixels a side to its moments, without `quant_conv`."""
    widths, total, side, narrow = shape.encoder, convolution(size, 3, 3, shape.encoder[0]), size, shape.encoder[0]
    for level, wide in enumerate(widths):
        for _ in range(shape.encoder_layers):
            total += residual(side, narrow, wide)
            narrow = wide
        if level < len(widths) - 1:
            side //= 2
            total += convolution(side, 3, wide, wide)
    return total + middle(side, narrow) + convolution(side, 3, narrow, 2 * shape.latents)


def condition_encoder(shape: Shape, size: int) -> float:
    """The pyramid of the pixels that are kept."""
    widths = (*shape.decoder, shape.decoder[-1])
    total, side = convolution(size, 3, 3, widths[0]), size
    for level in range(1, len(widths)):
        side //= 2 if level > 1 else 1
        total += convolution(side, 4 if level > 1 else 3, widths[level - 1], widths[level])
    return total


def decoder(shape: Shape, size: int, *, mask: bool = True) -> float:
    """One picture from its latents, without `post_quant_conv`; `mask` adds the condition encoder."""
    widths = shape.decoder[::-1]
    side, narrow = size // 2 ** (len(widths) - 1), widths[0]
    total = convolution(side, 3, shape.latents, narrow) + middle(side, narrow)
    for level, wide in enumerate(widths):
        for _ in range(shape.decoder_layers + 1):
            total += residual(side, narrow, wide)
            narrow = wide
        if level < len(widths) - 1:
            side *= 2
            total += convolution(side, 3, wide, wide)
    return total + last_layer(shape, size) + (condition_encoder(shape, size) if mask else 0.0)


def last_layer(shape: Shape, size: int) -> float:
    """`conv_out`."""
    return convolution(size, 3, shape.decoder[0], 3)


def decoder_gradients(shape: Shape, size: int) -> float:
    """Back to every parameter; nothing is asked for at the latents and at the picture."""
    side = size // 2 ** (len(shape.decoder) - 1)
    unasked = convolution(side, 3, shape.latents, shape.decoder[-1]) + convolution(size, 3, 3, shape.decoder[0])
    return 2 * decoder(shape, size) - unasked


def vgg(size: int, widths: Sequence[Sequence[int]] = VGG_WIDTHS) -> float:
    """One picture through VGG16's convolutions; back to the picture takes as much."""
    total, narrow = 0.0, 3
    for level, block in enumerate(widths):
        for wide in block:
            total += convolution(size // 2**level, 3, narrow, wide)
            narrow = wide
    return total


def critic_layers(size: int, channels: int = 64, layers: int = 3) -> list[float]:
    """Every convolution of the patch critic."""
    widths = [3, *(channels * min(2**i, 8) for i in range(layers + 1)), 1]
    counts, side = [], size
    for i in range(len(widths) - 1):
        side = side // 2 if i < layers else side - 1
        counts.append(convolution(side, 4, widths[i], widths[i + 1]))
    return counts


class StepOperations(NamedTuple):
    """Of one picture in one training step."""

    fused: float  # one decoder forward, one backward
    asleep: float  # the same while there is no critic
    reference: float  # the released procedure


def step(shape: Shape, size: int, channels: int = 64, layers: int = 3) -> StepOperations:
    """Encoder E, decoder forward D_f and backward D_b, VGG V, critic P:

    fused      E + D_f + D_b + 3 V + 2 P + P at the reconstruction + 2 P at its parameters + conv_out twice more
    asleep     E + D_f + D_b + 3 V + conv_out once more
    reference  2 E + 2 D_f + D_b + 6 V + 3 P + 2 P at the reconstruction + 2 P at its parameters
    """
    e, forward, backward, v = encoder(shape, size), decoder(shape, size), decoder_gradients(shape, size), vgg(size)
    counts = critic_layers(size, channels, layers)
    p, at_parameters, last = sum(counts), 2 * sum(counts) - counts[0], last_layer(shape, size)
    return StepOperations(
        fused=e + forward + backward + 3 * v + 3 * p + 2 * at_parameters + 2 * last,
        asleep=e + forward + backward + 3 * v + last,
        reference=2 * e + 2 * forward + backward + 6 * v + 5 * p + 2 * at_parameters,
    )

"""Autoencoders with a codebook: LDM's vq-f4, vq-f8, vq-f16, diffusers' `VQModel`, and asymmetric decoders on top of them.

As in LDM's interface, latents are continuous: `encode` ends before the codebook,
and decoding begins with it (arXiv 2306.04632, equation 1).
"""

import jax.numpy as jnp

from asym_jax.arrays import Images, Latents
from asym_jax.models.autoencoder import AsymmetricAutoencoder, Bottleneck, DecoderInput, SymmetricAutoencoder
from asym_jax.models.blocks import convolution
from asym_jax.models.codebook import Codebook
from asym_jax.models.encoder import Point


class CodebookBottleneck(Bottleneck):
    """A 1x1 convolution, the nearest entry of a codebook, and another 1x1 convolution.

    With `dtype` bfloat16, latents have 8 significant bits before they are compared.
    On normal data that rounding alone gives another entry to 1 position in 100
    (vq-f4) or 200 (vq-f16).

    Attributes:
        num_vq_embeddings: entries of the codebook.
        vq_embed_dim: channels of the latents; None for `latent_channels`, which the convolutions have on their other sides.
    """

    double_z = False

    num_vq_embeddings: int = 8192
    vq_embed_dim: int | None = None

    def set_up_bottleneck(self) -> None:
        width = self.vq_embed_dim or self.latent_channels
        self.quant_conv = convolution(self.latent_channels, width, kernel=1, dtype=self.dtype)
        self.quantize = Codebook(self.num_vq_embeddings, width)
        self.post_quant_conv = convolution(width, self.latent_channels, kernel=1, dtype=self.dtype)

    def encode(self, images: Images) -> Point:
        """Latents before the codebook, for pictures whose sides are multiples of the stride (4 for three levels)."""
        return Point(self.quant_conv(self.encoder(images)).astype(jnp.float32))

    def decoder_input(self, latents: Latents) -> DecoderInput:
        """What the decoder proper receives: the nearest entries, through `post_quant_conv`. No gradient reaches `latents`."""
        entries, _ = self.quantize(latents)
        return self.post_quant_conv(entries).astype(jnp.float32)


class VQModel(CodebookBottleneck, SymmetricAutoencoder):
    """A VQ-regularised autoencoder, by default LDM's vq-f4.

    Attributes: those of `SymmetricAutoencoder` and `CodebookBottleneck`, and
        lookup_from_codebook: whether pipelines hand over indices instead of latents (aMUSEd); nothing in here does.
    """

    block_out_channels: tuple[int, ...] = (128, 256, 512)
    latent_channels: int = 3
    sample_size: int = 256
    lookup_from_codebook: bool = False


class AsymmetricVQModel(CodebookBottleneck, AsymmetricAutoencoder):
    """The frozen half of a `VQModel` with an asymmetric decoder; known here only."""

    down_block_out_channels: tuple[int, ...] = (128, 256, 512)
    up_block_out_channels: tuple[int, ...] = (192, 384, 768)
    latent_channels: int = 3
    sample_size: int = 256

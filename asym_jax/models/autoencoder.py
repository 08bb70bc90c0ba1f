"""The whole autoencoders, under diffusers' names: encoder, quant_conv, post_quant_conv, decoder.

`AutoencoderKL` is Stable Diffusion's own; `AsymmetricAutoencoderKL` has a decoder
of its own width and depth that may see the pixels outside a mask. (The paper
speaks of a VQGAN; what Stable Diffusion uses, and what is built here, is the
KL-regularised autoencoder: there is no codebook.)
"""

from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from asym_jax.arrays import Images, Latents, Mask
from asym_jax.models.blocks import convolution
from asym_jax.models.decoder import Decoder
from asym_jax.models.encoder import Encoder, Posterior


class AutoencoderKL(nn.Module):
    """Stable Diffusion's autoencoder: encoder and decoder of the same widths.

    Attributes:
        block_out_channels: widths per level, full resolution first.
        layers_per_block: residual blocks per level of the encoder; the decoder has one more.
        scaling_factor: what pipelines multiply latents with; nothing in here does.
        sample_size: picture size it was trained at; informative only.
    """

    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    latent_channels: int = 4
    norm_num_groups: int = 32
    scaling_factor: float = 0.18215
    sample_size: int = 512
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        shape = (self.block_out_channels, self.layers_per_block, self.latent_channels, self.norm_num_groups)
        self.encoder = Encoder(*shape, dtype=self.dtype)
        self.decoder = Decoder(*shape, dtype=self.dtype)
        self.quant_conv = convolution(2 * self.latent_channels, 2 * self.latent_channels, kernel=1, dtype=self.dtype)
        self.post_quant_conv = convolution(self.latent_channels, self.latent_channels, kernel=1, dtype=self.dtype)

    def encode(self, images: Images) -> Posterior:
        """The distribution of latents for pictures whose sides are multiples of the stride (8 for four levels)."""
        return Posterior.of(self.quant_conv(self.encoder(images)))

    def decode(self, latents: Latents) -> Images:
        """Pictures, unclipped, from unscaled latents."""
        return self.decoder(self.post_quant_conv(latents))

    def decoder_input(self, latents: Latents) -> Latents:
        """What the decoder proper receives; `post_quant_conv` is frozen together with the encoder."""
        return self.post_quant_conv(latents).astype(jnp.float32)

    def __call__(self, images: Images) -> Images:
        """Encodes and decodes the mean; initialises every parameter."""
        return self.decode(self.encode(images).mean)


class AsymmetricAutoencoderKL(nn.Module):
    """The same encoder with a mask-conditioned decoder, possibly wider and deeper (arXiv 2306.04632).

    Attributes:
        down_block_out_channels: widths per level of the encoder, full resolution first.
        layers_per_down_block: residual blocks per level of the encoder.
        up_block_out_channels: widths per level of the decoder, full resolution first.
        layers_per_up_block: residual blocks per level of the decoder, less one.
        blend: "add" (published; the only form that PyTorch diffusers knows) or "concatenate".
    """

    down_block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_down_block: int = 2
    up_block_out_channels: tuple[int, ...] = (192, 384, 768, 768)
    layers_per_up_block: int = 3
    latent_channels: int = 4
    norm_num_groups: int = 32
    scaling_factor: float = 0.18215
    sample_size: int = 512
    blend: Literal["add", "concatenate"] = "add"
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        self.encoder = Encoder(
            self.down_block_out_channels, self.layers_per_down_block, self.latent_channels, self.norm_num_groups, self.dtype
        )
        self.decoder = Decoder(
            self.up_block_out_channels,
            self.layers_per_up_block,
            self.latent_channels,
            self.norm_num_groups,
            conditional=True,
            blend=self.blend,
            dtype=self.dtype,
        )
        self.quant_conv = convolution(2 * self.latent_channels, 2 * self.latent_channels, kernel=1, dtype=self.dtype)
        self.post_quant_conv = convolution(self.latent_channels, self.latent_channels, kernel=1, dtype=self.dtype)

    def encode(self, images: Images) -> Posterior:
        """The distribution of latents for pictures whose sides are multiples of the stride (8 for four levels)."""
        return Posterior.of(self.quant_conv(self.encoder(images)))

    def decode(self, latents: Latents, *, image: Images | None = None, mask: Mask | None = None) -> Images:
        """Pictures, unclipped. With `image` and `mask`, pixels where the mask is 0 come from `image`.

        Raises:
            ValueError: only one of `image` and `mask` was given, or sizes do not match.
        """
        return self.decoder(self.post_quant_conv(latents), image=image, mask=mask)

    def __call__(self, images: Images, *, mask: Mask | None = None) -> Images:
        """Encodes and decodes the mean, with `images` as condition; initialises every parameter."""
        mask = jnp.ones_like(images[..., :1]) if mask is None else mask
        return self.decode(self.encode(images).mean, image=images, mask=mask)

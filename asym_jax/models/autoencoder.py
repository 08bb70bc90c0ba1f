"""The whole autoencoders, under diffusers' names: encoder, quant_conv, post_quant_conv, decoder.

`AutoencoderKL` is Stable Diffusion's own; `AsymmetricAutoencoderKL` has a decoder
of its own width and depth that may see the pixels outside a mask. (The paper
speaks of a VQGAN; what Stable Diffusion uses is the KL-regularised autoencoder,
without a codebook. Those with one are in `vq`.)
"""

from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from asym_jax.arrays import Images, Latents, Mask, OneOrAllImages, OneOrAllMasks
from asym_jax.models.blocks import convolution
from asym_jax.models.condition import Condition
from asym_jax.models.decoder import Decoder
from asym_jax.models.encoder import Encoder, Point, Posterior
from asym_jax.models.normalisation.layer import Kernel
from asym_jax.models.remat import Remat

DecoderInput = Float[Array, "b h w _"]
"""As large as the latents; with a codebook, perhaps of another width."""


class Bottleneck(nn.Module):
    """What lies between encoder and decoder, and is frozen together with the encoder: mixed into the classes below."""

    def set_up_bottleneck(self) -> None:
        """Assigns the modules; part of `setup`."""
        raise NotImplementedError

    def encode(self, images: Images) -> Posterior | Point:
        """Latents of pictures whose sides are multiples of the stride (8 for four levels)."""
        raise NotImplementedError

    def decoder_input(self, latents: Latents) -> DecoderInput:
        """What the decoder proper receives, float32."""
        raise NotImplementedError


class SymmetricAutoencoder(Bottleneck):
    """Encoder and decoder of the same widths: the frozen side of a training.

    Attributes:
        block_out_channels: widths per level, full resolution first.
        layers_per_block: residual blocks per level of the encoder; the decoder has one more.
        scaling_factor: what pipelines multiply latents with; nothing in here does.
        sample_size: picture size it was trained at; informative only.
        down_attention: which levels of the encoder have self-attention, full resolution first; empty for none.
        up_attention: which levels of the decoder have, full resolution first too.
        mid_block_add_attention: whether the middles of both have.
        norm: who writes the normalisations' passes over features.
    """

    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    latent_channels: int = 4
    norm_num_groups: int = 32
    scaling_factor: float = 0.18215
    sample_size: int = 512
    down_attention: tuple[bool, ...] = ()
    up_attention: tuple[bool, ...] = ()
    mid_block_add_attention: bool = True
    dtype: DTypeLike = jnp.float32
    norm: Kernel = "xla"

    def setup(self) -> None:
        shape = (self.block_out_channels, self.layers_per_block, self.latent_channels, self.norm_num_groups)
        shared = {"mid_attention": self.mid_block_add_attention, "dtype": self.dtype, "norm": self.norm}
        self.encoder = Encoder(*shape, double_z=self.double_z, attention=self.down_attention, **shared)
        self.decoder = Decoder(*shape, attention=self.up_attention, **shared)
        self.set_up_bottleneck()

    def decode(self, latents: Latents) -> Images:
        """Pictures, unclipped, from unscaled latents."""
        return self.decoder(self.decoder_input(latents))

    def __call__(self, images: Images) -> Images:
        """Encodes and decodes the mean; initialises every parameter."""
        return self.decode(self.encode(images).mean)


class AsymmetricAutoencoder(Bottleneck):
    """The same encoder with a mask-conditioned decoder, possibly wider and deeper (arXiv 2306.04632).

    Attributes:
        down_block_out_channels: widths per level of the encoder, full resolution first.
        layers_per_down_block: residual blocks per level of the encoder.
        up_block_out_channels: widths per level of the decoder, full resolution first.
        layers_per_up_block: residual blocks per level of the decoder, less one.
        blend: "add" (published; the only form that PyTorch diffusers knows) or "concatenate".
        down_attention, up_attention, mid_block_add_attention: as in `SymmetricAutoencoder`.
        remat: what the decoder's backward pass computes again.
        norm: as in `SymmetricAutoencoder`.
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
    down_attention: tuple[bool, ...] = ()
    up_attention: tuple[bool, ...] = ()
    mid_block_add_attention: bool = True
    dtype: DTypeLike = jnp.float32
    remat: Remat = "none"
    norm: Kernel = "xla"

    def setup(self) -> None:
        latents = (self.latent_channels, self.norm_num_groups)
        shared = {"mid_attention": self.mid_block_add_attention, "dtype": self.dtype, "norm": self.norm}
        self.encoder = Encoder(
            self.down_block_out_channels,
            self.layers_per_down_block,
            *latents,
            double_z=self.double_z,
            attention=self.down_attention,
            **shared,
        )
        self.decoder = Decoder(
            self.up_block_out_channels,
            self.layers_per_up_block,
            *latents,
            conditional=True,
            blend=self.blend,
            attention=self.up_attention,
            remat=self.remat,
            **shared,
        )
        self.set_up_bottleneck()

    def decode(
        self,
        latents: Latents,
        *,
        image: OneOrAllImages | None = None,
        mask: OneOrAllMasks | None = None,
        condition: Condition | None = None,
    ) -> Images:
        """Pictures, unclipped. With `image` and `mask`, pixels where the mask is 0 come from `image`.

        One picture and its mask may stand for all latents. What the decoder makes of them can be kept, and given in their
        place: `condition = model.apply(..., image, mask, method="condition")`.

        Raises:
            ValueError: as `Decoder.features` does.
        """
        return self.decoder(self.decoder_input(latents), image=image, mask=mask, condition=condition)

    def condition(self, image: Images, mask: Mask) -> Condition:
        """What `decode` uses of pictures and masks. Raises ValueError if their sizes differ."""
        return self.decoder.condition(image, mask)

    def __call__(self, images: Images, *, mask: Mask | None = None) -> Images:
        """Encodes and decodes the mean, with `images` as condition; initialises every parameter."""
        mask = jnp.ones_like(images[..., :1]) if mask is None else mask
        return self.decode(self.encode(images).mean, image=images, mask=mask)


class GaussianBottleneck(Bottleneck):
    """A diagonal Gaussian, and 1x1 convolutions before and after it."""

    double_z = True

    def set_up_bottleneck(self) -> None:
        self.quant_conv = convolution(2 * self.latent_channels, 2 * self.latent_channels, kernel=1, dtype=self.dtype)
        self.post_quant_conv = convolution(self.latent_channels, self.latent_channels, kernel=1, dtype=self.dtype)

    def encode(self, images: Images) -> Posterior:
        """The distribution of latents for pictures whose sides are multiples of the stride (8 for four levels)."""
        return Posterior.of(self.quant_conv(self.encoder(images)))

    def decoder_input(self, latents: Latents) -> DecoderInput:
        """What the decoder proper receives; `post_quant_conv` is frozen together with the encoder."""
        return self.post_quant_conv(latents).astype(jnp.float32)


class AutoencoderKL(GaussianBottleneck, SymmetricAutoencoder):
    """Stable Diffusion's autoencoder. The settings are those of `SymmetricAutoencoder`."""


class AsymmetricAutoencoderKL(GaussianBottleneck, AsymmetricAutoencoder):
    """Stable Diffusion's encoder with an asymmetric decoder. The settings are those of `AsymmetricAutoencoder`."""

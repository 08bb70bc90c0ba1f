"""The vision tower of CLIP (Radford et al. 2021, arXiv 2103.00020): a transformer over patches of a picture.

ViT-B/32 measures the CLIP score; ViT-L/14 describes the example in Paint-by-Example.
Module names are those of Hugging Face's PyTorch files, `pre_layrnorm` included.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from asym_jax.arrays import Images

Tokens = Float[Array, "b n c"]

EPSILON = 1e-5
"""Added to the variance in every layer normalisation."""

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""Of the channels in [0, 1] over the pictures that CLIP was trained on; inputs are normalised by them."""


class ClipFeatures(NamedTuple):
    """What the tower says of each picture."""

    pooled: Float[Array, "b c"]  # the class token after the last normalisation
    projected: Float[Array, "b p"] | None  # in the space that is shared with text; None for a tower without projection


def quick_gelu(values: Tokens) -> Tokens:
    """x sigmoid(1.702 x), which OpenAI's weights were trained with."""
    return values * nn.sigmoid(1.702 * values)


class PatchEmbedding(nn.Module):
    """A token for the whole picture, then one for each patch; positions are added."""

    width: int
    patch: int
    image_size: int
    dtype: DTypeLike
    precision: jax.lax.Precision

    def setup(self) -> None:
        sides = (self.patch, self.patch)
        self.patch_embedding = nn.Conv(
            self.width, sides, sides, "VALID", use_bias=False, dtype=self.dtype, precision=self.precision
        )
        self.class_embedding = self.param("class_embedding", nn.initializers.normal(0.02), (self.width,))
        self.position_embedding = nn.Embed((self.image_size // self.patch) ** 2 + 1, self.width, dtype=self.dtype)

    def __call__(self, images: Images) -> Tokens:
        b, *size, _ = images.shape
        if size != [self.image_size, self.image_size]:
            raise ValueError(f"this CLIP sees pictures of {self.image_size} pixels a side; these have shape {images.shape}")
        patches = self.patch_embedding(images).reshape(b, -1, self.width)
        whole = jnp.broadcast_to(self.class_embedding.reshape(1, 1, -1), (b, 1, self.width)).astype(patches.dtype)
        tokens = jnp.concatenate([whole, patches], axis=1)
        return tokens + self.position_embedding(jnp.arange(tokens.shape[1]))[None]


class SelfAttention(nn.Module):
    """Every token looks at every token, in several heads."""

    width: int
    heads: int
    dtype: DTypeLike
    precision: jax.lax.Precision

    def setup(self) -> None:
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            setattr(self, name, nn.Dense(self.width, dtype=self.dtype, precision=self.precision))

    def __call__(self, tokens: Tokens) -> Tokens:
        b, n, c = tokens.shape
        query, key, value = (
            layer(tokens).reshape(b, n, self.heads, c // self.heads) for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        query = query * (c // self.heads) ** -0.5
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key, precision=self.precision, preferred_element_type=jnp.float32)
        weights = nn.softmax(scores).astype(self.dtype)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, value, precision=self.precision)
        return self.out_proj(mixed.reshape(b, n, c))


class FeedForward(nn.Module):
    """Each token for itself, through a layer of another width."""

    width: int
    hidden: int
    dtype: DTypeLike
    precision: jax.lax.Precision

    def setup(self) -> None:
        self.fc1 = nn.Dense(self.hidden, dtype=self.dtype, precision=self.precision)
        self.fc2 = nn.Dense(self.width, dtype=self.dtype, precision=self.precision)

    def __call__(self, tokens: Tokens) -> Tokens:
        return self.fc2(quick_gelu(self.fc1(tokens)))


class EncoderLayer(nn.Module):
    """Attention, then the feed-forward network; both see normalised tokens and are added to what came in."""

    width: int
    heads: int
    hidden: int
    dtype: DTypeLike
    precision: jax.lax.Precision

    def setup(self) -> None:
        self.layer_norm1, self.layer_norm2 = (nn.LayerNorm(EPSILON, dtype=self.dtype) for _ in range(2))
        self.self_attn = SelfAttention(self.width, self.heads, self.dtype, self.precision)
        self.mlp = FeedForward(self.width, self.hidden, self.dtype, self.precision)

    def __call__(self, tokens: Tokens) -> Tokens:
        tokens = tokens + self.self_attn(self.layer_norm1(tokens))
        return tokens + self.mlp(self.layer_norm2(tokens))


class Encoder(nn.Module):
    """The layers one after the other."""

    layers: int
    width: int
    heads: int
    hidden: int
    dtype: DTypeLike
    precision: jax.lax.Precision

    def setup(self) -> None:
        given = (self.width, self.heads, self.hidden, self.dtype, self.precision)
        for i in range(self.layers):
            setattr(self, f"layers_{i}", EncoderLayer(*given))

    def __call__(self, tokens: Tokens) -> Tokens:
        for i in range(self.layers):
            tokens = getattr(self, f"layers_{i}")(tokens)
        return tokens


class VisionModel(nn.Module):
    """Everything but the projection."""

    layers: int
    width: int
    heads: int
    hidden: int
    patch: int
    image_size: int
    dtype: DTypeLike
    precision: jax.lax.Precision

    def setup(self) -> None:
        self.embeddings = PatchEmbedding(self.width, self.patch, self.image_size, self.dtype, self.precision)
        self.pre_layrnorm = nn.LayerNorm(EPSILON, dtype=self.dtype)
        self.encoder = Encoder(self.layers, self.width, self.heads, self.hidden, self.dtype, self.precision)
        self.post_layernorm = nn.LayerNorm(EPSILON, dtype=self.dtype)

    def __call__(self, images: Images) -> Float[Array, "b c"]:
        tokens = self.encoder(self.pre_layrnorm(self.embeddings(images)))
        return self.post_layernorm(tokens[:, 0])


class ClipVision(nn.Module):
    """A vision tower; the defaults are ViT-B/32. ViT-L/14 has 24 layers of width 1024 in 16 heads, and patches of 14 pixels.

    Attributes:
        hidden: width inside the feed-forward networks; 0 for four times `width`.
        projection: width of the space shared with text; None leaves the projection out.
        dtype: of the computation. Metrics leave it at float32.
        precision: of the float32 products. Accelerators would by default round the factors to TF32 or bfloat16.
    """

    layers: int = 12
    width: int = 768
    heads: int = 12
    patch: int = 32
    image_size: int = 224
    projection: int | None = 512
    hidden: int = 0
    dtype: DTypeLike = jnp.float32
    precision: jax.lax.Precision = jax.lax.Precision.HIGHEST

    def setup(self) -> None:
        hidden = self.hidden or 4 * self.width
        self.vision_model = VisionModel(
            self.layers, self.width, self.heads, hidden, self.patch, self.image_size, self.dtype, self.precision
        )
        if self.projection is not None:
            self.visual_projection = nn.Dense(self.projection, use_bias=False, dtype=self.dtype, precision=self.precision)

    def __call__(self, images: Images) -> ClipFeatures:
        """Looks at pictures in [0, 1] that were normalised by `MEAN` and `DEVIATION`. Raises ValueError for another size."""
        pooled = self.vision_model(images)
        return ClipFeatures(pooled, self.visual_projection(pooled) if self.projection is not None else None)

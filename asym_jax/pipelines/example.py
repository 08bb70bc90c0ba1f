"""Paint-by-Example's condition: a picture instead of words (arXiv 2211.13227, section 3)."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float
from transformers import CLIPVisionConfig
from transformers.models.clip.modeling_flax_clip import FlaxCLIPVisionModule

from asym_jax.arrays import Params

Tokens = Float[Array, "b t c"]


class Attention(nn.Module):
    """Self-attention with one head, under diffusers' names."""

    width: int
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        self.to_q, self.to_k, self.to_v = (nn.Dense(self.width, dtype=self.dtype) for _ in range(3))
        self.to_out_0 = nn.Dense(self.width, dtype=self.dtype)

    def __call__(self, tokens: Tokens) -> Tokens:
        scores = jnp.einsum("bqc,bkc->bqk", self.to_q(tokens), self.to_k(tokens)) * self.width**-0.5
        return self.to_out_0(jnp.einsum("bqk,bkc->bqc", nn.softmax(scores), self.to_v(tokens)))


class Widen(nn.Module):
    """A linear layer and GELU (the exact one)."""

    width: int
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        self.proj = nn.Dense(self.width, dtype=self.dtype)

    def __call__(self, tokens: Tokens) -> Float[Array, "b t _"]:
        return nn.gelu(self.proj(tokens), approximate=False)


class FeedForward(nn.Module):
    """Four times as wide in between."""

    width: int
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        self.net_0 = Widen(4 * self.width, self.dtype)
        self.net_2 = nn.Dense(self.width, dtype=self.dtype)

    def __call__(self, tokens: Tokens) -> Tokens:
        return self.net_2(self.net_0(tokens))


class MapperBlock(nn.Module):
    """A transformer block that normalises first."""

    width: int
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        self.norm1, self.norm3 = (nn.LayerNorm(epsilon=1e-5, dtype=self.dtype) for _ in range(2))
        self.attn1 = Attention(self.width, self.dtype)
        self.ff = FeedForward(self.width, self.dtype)

    def __call__(self, tokens: Tokens) -> Tokens:
        tokens = tokens + self.attn1(self.norm1(tokens))
        return tokens + self.ff(self.norm3(tokens))


class Mapper(nn.Module):
    """One block for every five layers of CLIP: five for ViT-L/14."""

    width: int
    count: int
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        self.blocks = [MapperBlock(self.width, self.dtype) for _ in range(self.count)]

    def __call__(self, tokens: Tokens) -> Tokens:
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class ExampleEncoder(nn.Module):
    """CLIP's vision tower, the mapper, a projection, and the vector that stands for no example.

    Attributes:
        config: of the vision tower, with `projection_dim`, the width of the UNet's condition.
    """

    config: CLIPVisionConfig
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        width = self.config.hidden_size
        self.model = FlaxCLIPVisionModule(self.config, dtype=self.dtype)
        self.mapper = Mapper(width, (self.config.num_hidden_layers + 1) // 5, self.dtype)
        self.final_layer_norm = nn.LayerNorm(epsilon=1e-5, dtype=self.dtype)
        self.proj_out = nn.Dense(self.config.projection_dim, dtype=self.dtype)
        self.uncond_vector = self.param("uncond_vector", nn.initializers.normal(1.0), (1, 1, self.config.projection_dim))

    def __call__(self, examples: Float[Array, "b S S 3"]) -> tuple[Tokens, Float[Array, "1 1 _"]]:
        """One token per example (normalised as CLIP wants them), and the unconditional one."""
        pooled = self.model(examples, deterministic=True)[1]
        tokens = self.proj_out(self.final_layer_norm(self.mapper(pooled[:, None])))
        return tokens, self.uncond_vector

    def init_weights(self, rng: jax.Array) -> Params:
        """Fresh parameters."""
        side = self.config.image_size
        return self.init(rng, jnp.zeros((1, side, side, 3)))["params"]

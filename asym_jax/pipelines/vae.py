"""Our autoencoders where diffusers' Flax pipelines expect theirs."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
from diffusers.configuration_utils import ConfigMixin, flax_register_to_config
from diffusers.models.modeling_flax_utils import FlaxModelMixin
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from asym_jax.arrays import Params
from asym_jax.models.autoencoder import AsymmetricAutoencoderKL, AutoencoderKL
from asym_jax.weights import load_pretrained, save_pretrained

Autoencoder = AutoencoderKL | AsymmetricAutoencoderKL

ChannelsFirst = Float[Array, "b c H W"]


def channels_last(array: Float[Array, "b c h w"]) -> Float[Array, "b h w c"]:
    return array.transpose(0, 2, 3, 1)


def channels_first(array: Float[Array, "b h w c"]) -> Float[Array, "b c h w"]:
    return array.transpose(0, 3, 1, 2)


def cast(params: Params, dtype: DTypeLike) -> Params:
    """Floating-point parameters as `dtype`; what diffusers' `to_bf16` and the like were for, which no longer run (jax.tree_map)."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, params)


@flax_register_to_config
class FlaxConditionedAutoencoderKL(nn.Module, FlaxModelMixin, ConfigMixin):
    """One of our autoencoders, with diffusers' methods around it and the same parameters.

    Arrays are channels-first, always: diffusers' own `decode` guesses, and takes a
    width of 4 for the channels. Make it with `of`; the other fields are what diffusers reads from `config`.
    """

    model: Any = None
    block_out_channels: tuple[int, ...] = ()
    latent_channels: int = 4
    scaling_factor: float = 0.18215
    sample_size: int = 512

    @classmethod
    def of(cls, model: Autoencoder) -> "FlaxConditionedAutoencoderKL":
        """The adapter around `model`."""
        widths = model.down_block_out_channels if isinstance(model, AsymmetricAutoencoderKL) else model.block_out_channels
        return cls(
            model=model,
            block_out_channels=widths,
            latent_channels=model.latent_channels,
            scaling_factor=model.scaling_factor,
            sample_size=model.sample_size,
        )

    def setup(self) -> None:
        self.inner = self.model.copy()
        nn.share_scope(self, self.inner)

    def init_weights(self, rng: jax.Array) -> Params:
        """Fresh parameters."""
        side = 2 ** (len(self.block_out_channels) - 1)
        return self.init(rng, jnp.zeros((1, 3, side, side)))["params"]

    def encode(self, sample: ChannelsFirst, deterministic: bool = True, return_dict: bool = True) -> SimpleNamespace:
        """`latent_dist` has `sample(key)` and `mean`, channels last, as in diffusers."""
        return SimpleNamespace(latent_dist=_Distribution(self.inner.encode(channels_last(sample))))

    def decode(
        self,
        latents: Float[Array, "b c h w"],
        deterministic: bool = True,
        return_dict: bool = True,
        *,
        image: Float[Array, "b 3 H W"] | None = None,
        mask: Float[Array, "b 1 H W"] | None = None,
    ) -> SimpleNamespace:
        """`sample` holds the pictures, channels first. A plain autoencoder ignores `image` and `mask`."""
        condition = {}
        if image is not None and isinstance(self.model, AsymmetricAutoencoderKL):
            condition = {"image": channels_last(image), "mask": channels_last(mask)}
        return SimpleNamespace(sample=channels_first(self.inner.decode(channels_last(latents), **condition)))

    def __call__(self, sample: ChannelsFirst) -> ChannelsFirst:
        return channels_first(self.inner(channels_last(sample)))

    def to_bf16(self, params: Params, mask: Any = None) -> Params:
        return cast(params, jnp.bfloat16)

    def to_fp16(self, params: Params, mask: Any = None) -> Params:
        return cast(params, jnp.float16)

    def to_fp32(self, params: Params, mask: Any = None) -> Params:
        return cast(params, jnp.float32)

    def save_pretrained(self, save_directory: str | Path, params: Params, **_: Any) -> None:
        """Writes a folder of diffusers' Flax (see `asym_jax.weights.save_pretrained`)."""
        save_pretrained(save_directory, self.model, params, layout="flax")

    @classmethod
    def from_pretrained(cls, source: str | Path, dtype: DTypeLike = jnp.float32, **_: Any) -> tuple[Any, Params]:
        """Adapter and parameters from whatever `asym_jax.weights.load_pretrained` reads."""
        model, params = load_pretrained(source, dtype=dtype)
        return cls.of(model), params


class _Distribution:
    """A posterior as diffusers calls it."""

    def __init__(self, posterior: Any) -> None:
        self.posterior, self.mean = posterior, posterior.mean

    def mode(self) -> Float[Array, "b h w c"]:
        return self.mean

    def sample(self, key: jax.Array) -> Float[Array, "b h w c"]:
        """The key may be of the old kind, an array of two numbers."""
        return self.posterior.at(jax.random.normal(key, self.mean.shape, self.mean.dtype))


class ConditionedVAE:
    """Stands in for a pipeline's `vae` while diffusers' `_generate` is traced, and hands the decoder what that does not know."""

    def __init__(self, vae: FlaxConditionedAutoencoderKL, image: Any, mask: Any) -> None:
        self._vae, self._image, self._mask = vae, image, mask

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vae, name)

    @property
    def decode(self) -> Callable[..., Any]:
        """A function for `apply(..., method=...)`."""
        image, mask = self._image, self._mask
        return lambda module, latents, **keywords: module.decode(latents, image=image, mask=mask, **keywords)

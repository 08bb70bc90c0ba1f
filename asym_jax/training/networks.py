"""The networks of a run: the real `Parts` of `train_step`, and where their weights come from."""

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from asym_jax.arrays import Features, Images, Latents, Logits, Mask, Moments, NewFeatures, Params, PerImage, PRNGKey
from asym_jax.config import ModelConfig, TrainConfig
from asym_jax.data.masks import MaskRecipe, draw_masks, find_recipe
from asym_jax.errors import InputError
from asym_jax.losses.lpips import lpips
from asym_jax.models.autoencoder import AsymmetricAutoencoder, AsymmetricAutoencoderKL, SymmetricAutoencoder
from asym_jax.models.critic import Critic
from asym_jax.models.encoder import Point, Posterior
from asym_jax.models.vq import AsymmetricVQModel, VQModel
from asym_jax.training.optim import critic_optimiser, decoder_optimiser
from asym_jax.training.state import TrainState
from asym_jax.weights import load_pretrained
from asym_jax.weights.architecture import Autoencoder
from asym_jax.weights.kinship import IN_TRAINING, differing_half
from asym_jax.weights.networks import load_lpips, lpips_problem


@dataclasses.dataclass(frozen=True)
class Networks:
    """Everything an update is built from but the weights."""

    vae: SymmetricAutoencoder
    model: AsymmetricAutoencoder
    critic: Critic | None
    recipe: MaskRecipe
    full_mask_probability: float
    decoder_tx: optax.GradientTransformation
    critic_tx: optax.GradientTransformation
    groups: tuple[tuple[str, float], ...] = ((".*", 1.0),)
    perceptual_dtype: Literal["model", "float32", "exact"] = "float32"  # as in `LossConfig`

    def spread_over(self, axes: tuple[str, ...]) -> "Networks":
        """These networks inside of a `jax.shard_map`, where each device sees some of the pictures; `axes` are all of its axes."""
        return dataclasses.replace(self, critic=self.critic and self.critic.copy(axes=axes))

    def draw_masks(self, key: PRNGKey, image: Images) -> Mask:
        """A fresh mask for each picture."""
        count, height, width, _ = image.shape
        return draw_masks(
            key, count=count, height=height, width=width, recipe=self.recipe, full_probability=self.full_mask_probability
        )

    def draw_noise(self, key: PRNGKey, image: Images) -> Latents:
        """Standard normal noise, as `encode` wants it."""
        count, height, width, _ = image.shape
        stride = 2 ** (len(self.vae.block_out_channels) - 1)
        return jax.random.normal(key, (count, height // stride, width // stride, self.vae.latent_channels))

    def encode(self, frozen: Params, noise: Latents, image: Images) -> Latents:
        """Latents of the whole, unmasked picture, as the decoder proper receives them.

        A sample of the posterior; with a codebook, the entries nearest to the encoder's output, and `noise` is not used.
        """
        vae = {"params": frozen["vae"]}
        latents = self.vae.apply(vae, image, method="encode").at(noise)
        return self.vae.apply(vae, latents, method="decoder_input")

    def moments(self, frozen: Params, image: Images) -> Moments:
        """What `sample` needs of the encoder: mean and log-variance of the posterior side by side; with a codebook, the latents."""
        return jnp.concatenate(self.vae.apply({"params": frozen["vae"]}, image, method="encode"), axis=-1)

    def sample(self, frozen: Params, noise: Latents, moments: Moments) -> Latents:
        """What `encode` gives for the picture that `moments` belong to."""
        posterior = Posterior(*jnp.split(moments, 2, axis=-1)) if self.vae.double_z else Point(moments)
        return self.vae.apply({"params": frozen["vae"]}, posterior.at(noise), method="decoder_input")

    def features(self, decoder: Params, latents: Latents, image: Images, mask: Mask) -> NewFeatures:
        return self._apply_decoder(decoder, lambda module: module.features(latents, image, mask))

    def to_pixels(self, decoder: Params, features: Features) -> Images:
        return self._apply_decoder(decoder, lambda module: module.to_pixels(features))

    def criticise(self, critic: Params, image: Images) -> Logits:
        return self.critic.apply({"params": critic}, image)

    def perceptual(self, frozen: Params, image: Images, reconstruction: Images) -> PerImage:
        dtype = self.model.dtype if self.perceptual_dtype == "model" else jnp.float32
        precision = jax.lax.Precision.HIGHEST if self.perceptual_dtype == "exact" else jax.lax.Precision.DEFAULT
        vgg, heads = frozen["lpips"]["vgg"], frozen["lpips"]["heads"]
        return lpips(vgg, heads, image, reconstruction, dtype=dtype, precision=precision)

    def whole(self, frozen: Params, decoder: Params) -> Params:
        """The parameters of `model`: the frozen half and a decoder."""
        return frozen["vae"] | {"decoder": decoder}

    def reconstruct(self, frozen: Params, decoder: Params, image: Images, mask: Mask) -> tuple[Images, Images]:
        """What the plain autoencoder and ours make of the same latents (the posterior's mean, if there is one); not clipped."""
        latents = self.mean_latents(frozen, image)
        return self.decode_plainly(frozen, latents), self.decode(frozen, decoder, latents, image=image, mask=mask)

    def mean_latents(self, frozen: Params, image: Images) -> Latents:
        """The mean of the posterior, if there is one."""
        return self.vae.apply({"params": frozen["vae"]}, image, method="encode").mean

    def decode_plainly(self, frozen: Params, latents: Latents) -> Images:
        """What the frozen autoencoder makes of latents; not clipped."""
        return self.vae.apply({"params": frozen["vae"]}, latents, method="decode")

    def decode(
        self, frozen: Params, decoder: Params, latents: Latents, *, image: Images | None = None, mask: Mask | None = None
    ) -> Images:
        """What ours makes of latents, with `image` and `mask` or without both; not clipped."""
        return self.model.apply({"params": self.whole(frozen, decoder)}, latents, image=image, mask=mask, method="decode")

    def _apply_decoder(self, decoder: Params, method: Callable) -> jax.Array:
        return self.model.apply({"params": {"decoder": decoder}}, method=lambda model: method(model.decoder))


def build(config: TrainConfig) -> tuple[Networks, Params, Params | None]:
    """The networks, the frozen weights (on the host), and the decoder to start from if the config names one.

    Raises:
        InputError: weights are missing or do not fit the config.
    """
    if config.loss.perceptual and (problem := lpips_problem()):
        raise InputError(
            f"{problem}\nloss.perceptual={config.loss.perceptual} needs these weights; --loss.perceptual 0 trains without."
        )
    vae, vae_params = _load("vae", config.model.vae, config.model.dtype)
    if not isinstance(vae, SymmetricAutoencoder):
        raise InputError(
            f"model.vae={config.model.vae!r} holds an asymmetric autoencoder; a plain AutoencoderKL is needed, or a VQModel"
        )
    _check_encoder(config, vae)
    if config.model.norm == "triton" and jax.device_count() > 1:
        raise InputError(f"model.norm=triton works on one GPU only, and there are {jax.device_count()} devices; use xla")
    vae = vae.copy(norm=config.model.norm)
    model = asymmetric(config.model, vae)
    given = _given_decoder(config.model, vae, vae_params)
    frozen = {"vae": vae_params}
    if config.loss.perceptual:
        weights = load_lpips()
        frozen["lpips"] = {"vgg": weights.vgg, "heads": weights.heads}
    critic = None
    if config.loss.adversarial:
        shape = config.critic
        critic = Critic(shape.channels, shape.layers, shape.norm_images, config.model.dtype)
    networks = Networks(
        vae=vae,
        model=model,
        critic=critic,
        recipe=find_recipe(config.data.mask).scaled(config.data.image_size),
        full_mask_probability=config.data.full_mask_probability,
        decoder_tx=decoder_optimiser(config.optim, jax.eval_shape(lambda: fresh_decoder(model, jax.random.key(0)))),
        critic_tx=critic_optimiser(config.optim, config.loss.critic_start),
        groups=config.optim.groups,
        perceptual_dtype=config.loss.perceptual_dtype,
    )
    return networks, frozen, given


def asymmetric(config: ModelConfig, vae: SymmetricAutoencoder) -> AsymmetricAutoencoder:
    """The model to be trained: the encoder of `vae` (and its codebook, if any) and a decoder as `config` asks for.

    The decoder has self-attention where that of `vae` has.
    """
    settings = {
        "down_block_out_channels": vae.block_out_channels,
        "layers_per_down_block": vae.layers_per_block,
        "up_block_out_channels": config.channels,
        "layers_per_up_block": config.layers_per_block,
        "norm_num_groups": config.norm_groups,
        "blend": config.blend,
        "remat": config.remat,
        "norm": config.norm,
    }
    same = [
        "latent_channels",
        "scaling_factor",
        "sample_size",
        "down_attention",
        "up_attention",
        "mid_block_add_attention",
        "dtype",
    ]
    kind = AsymmetricAutoencoderKL
    if isinstance(vae, VQModel):
        kind = AsymmetricVQModel
        same += ["num_vq_embeddings", "vq_embed_dim"]
    return kind(**settings, **{name: getattr(vae, name) for name in same})


def initial_state(config: TrainConfig, networks: Networks, key: PRNGKey, given: Params | None) -> TrainState:
    """The state before the first update; meant to run inside one jit, so that no two leaves share a buffer.

    `given` takes the place of freshly drawn decoder parameters of the same names.
    """
    decoder_key, critic_key = jax.random.split(key)
    decoder = fresh_decoder(networks.model, decoder_key)
    if given is not None:
        decoder = decoder | given
    critic = {}
    if networks.critic is not None:
        blank = jnp.zeros((1, config.data.image_size, config.data.image_size, 3))
        critic = networks.critic.init(critic_key, blank)["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        decoder=decoder,
        average=jax.tree.map(jnp.copy, decoder) if config.optim.ema_decay else {},
        critic=critic,
        decoder_opt=networks.decoder_tx.init(decoder),
        critic_opt=networks.critic_tx.init(critic),
    )


def fresh_decoder(model: AsymmetricAutoencoder, key: PRNGKey) -> Params:
    """Newly drawn parameters of the decoder and its condition encoder."""
    side = 2 ** (len(model.up_block_out_channels) - 1)
    latents, image = jnp.zeros((1, 1, 1, model.latent_channels)), jnp.zeros((1, side, side, 3))
    initialise = lambda module: module.decoder(latents, image=image, mask=image[..., :1])  # noqa: E731
    return model.init(key, method=initialise)["params"]["decoder"]


def _given_decoder(config: ModelConfig, vae: SymmetricAutoencoder, vae_params: Params) -> Params | None:
    """The decoder weights that `config.init` names; the VAE's own lack the condition encoder, which stays fresh."""
    if config.init == "random":
        return None
    if config.init == "vae":
        asked = (config.channels, config.layers_per_block, config.norm_groups)
        there = (vae.block_out_channels, vae.layers_per_block, vae.norm_num_groups)
        if asked != there:
            raise InputError(
                f"model.init=vae starts from the decoder of {config.vae!r}, which has (channels, layers_per_block, norm_groups) = "
                f"{there}; the config asks for {asked}. Change the config, or use --model.init random."
            )
        return vae_params["decoder"]
    model, params = _load("init", config.init, config.dtype)
    if not isinstance(model, AsymmetricAutoencoder):
        raise InputError(f"model.init={config.init!r} is a plain autoencoder; give an asymmetric one, `vae` or `random`")
    asked = (config.channels, config.layers_per_block, config.norm_groups, config.blend)
    there = (model.up_block_out_channels, model.layers_per_up_block, model.norm_num_groups, model.blend)
    if asked != there:
        raise InputError(
            f"model.init={config.init!r} has (channels, layers_per_block, norm_groups, blend) = {there}, "
            f"and the config asks for {asked}"
        )
    needed, there = (_settled_by_vae(autoencoder) for autoencoder in (vae, model))
    part = differing_half(params, vae_params, IN_TRAINING)
    if part or needed != there:
        why = f"their {part}s differ" if part else f"(up_attention, mid_block_add_attention) are {there}, and {needed} there"
        raise InputError(
            f"model.init={config.init!r} was trained for another autoencoder than model.vae={config.vae!r}: {why}. "
            "Give the one that it belongs to"
        )
    return params["decoder"]


def _settled_by_vae(autoencoder: Autoencoder) -> tuple[tuple[bool, ...], bool]:
    """Settings of the decoder that no config chooses."""
    return autoencoder.up_attention, autoencoder.mid_block_add_attention


def _load(setting: str, source: str, dtype: str) -> tuple[Autoencoder, Params]:
    try:
        return load_pretrained(source, dtype=dtype)
    except InputError as error:
        raise InputError(f"model.{setting}={source!r}: {error}") from error


def _check_encoder(config: TrainConfig, vae: SymmetricAutoencoder) -> None:
    """Raises InputError where one set of settings cannot describe both the encoder of `vae` and the decoder asked for."""
    if len(vae.block_out_channels) != len(config.model.channels):
        raise InputError(
            f"model.channels has {len(config.model.channels)} levels, but the encoder of {config.model.vae!r} "
            f"has {len(vae.block_out_channels)}: both must shrink pictures alike"
        )
    if vae.norm_num_groups != config.model.norm_groups:
        raise InputError(
            f"model.norm_groups={config.model.norm_groups}, but the encoder of {config.model.vae!r} has {vae.norm_num_groups}: "
            "diffusers knows one number for both"
        )

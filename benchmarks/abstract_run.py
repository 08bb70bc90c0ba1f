"""A run of a preset without its weights: shapes and places only, which is all that a compiler needs."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from asym_jax.arrays import Params
from asym_jax.config import TrainConfig
from asym_jax.data.masks import find_recipe
from asym_jax.models.autoencoder import AutoencoderKL, SymmetricAutoencoder
from asym_jax.models.critic import Critic
from asym_jax.models.vgg import VGG16
from asym_jax.training.networks import Networks, asymmetric, fresh_decoder, initial_state
from asym_jax.training.optim import critic_optimiser, decoder_optimiser
from asym_jax.training.sharding import FROZEN, state_shardings
from asym_jax.training.state import TrainState
from asym_jax.weights import load_pretrained


def networks_of(config: TrainConfig, vae: SymmetricAutoencoder | None = None) -> Networks:
    """What training builds for a config, without its downloads: unless given, the frozen autoencoder is the small one or
    Stable Diffusion's."""
    if vae is None:
        vae = load_pretrained("asset")[0] if config.model.vae == "asset" else AutoencoderKL()
    vae = vae.copy(dtype=config.model.dtype, norm=config.model.norm)
    model = asymmetric(config.model, vae)
    shape = jax.eval_shape(lambda: fresh_decoder(model, jax.random.key(0)))
    return Networks(
        vae=vae,
        model=model,
        critic=Critic(config.critic.channels, config.critic.layers, config.critic.norm_images, config.model.dtype),
        recipe=find_recipe(config.data.mask).scaled(config.data.image_size),
        full_mask_probability=config.data.full_mask_probability,
        decoder_tx=decoder_optimiser(config.optim, shape),
        critic_tx=critic_optimiser(config.optim, config.loss.critic_start),
        perceptual_dtype=config.loss.perceptual_dtype,
    )


def abstract_run(config: TrainConfig, networks: Networks, mesh: Mesh) -> tuple[Params, TrainState]:
    """Frozen weights and training state as `jax.ShapeDtypeStruct` with shardings."""
    blank = jnp.zeros((1, 64, 64, 3))
    frozen = {"vae": jax.eval_shape(networks.vae.init, jax.random.key(0), blank)["params"]}
    if config.loss.perceptual:
        heads = tuple(jax.ShapeDtypeStruct((width,), jnp.float32) for width in (64, 128, 256, 512, 512))
        frozen["lpips"] = {"vgg": jax.eval_shape(VGG16().init, jax.random.key(0), blank)["params"], "heads": heads}
    state = jax.eval_shape(lambda: initial_state(config, networks, jax.random.key(0), None))
    tree = state._asdict() | {FROZEN: frozen}
    placed = jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        tree,
        state_shardings(tree, mesh, config.sharding),
    )
    return placed.pop(FROZEN), TrainState(**placed)


def with_settings(config: TrainConfig, **changes: dict[str, Any]) -> TrainConfig:
    """`config` with other values in some sections: `data={"batch_size": 8}`."""
    values = config.model_dump()
    return TrainConfig(**values | {section: values[section] | new for section, new in changes.items()})

"""The presets at their full size: by shape, and one real step of the base model."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.commands import load_preset
from asym_jax.config import TrainConfig
from asym_jax.data.masks import find_recipe
from asym_jax.models.autoencoder import AutoencoderKL
from asym_jax.models.critic import Critic
from asym_jax.models.vgg import VGG16
from asym_jax.training.networks import Networks, asymmetric, fresh_decoder, initial_state
from asym_jax.training.optim import critic_optimiser, decoder_optimiser
from asym_jax.training.step import train_step

CONFIGS = Path(__file__).parents[2] / "configs"
STABLE_DIFFUSION = AutoencoderKL()  # its defaults are the VAE of Stable Diffusion 1.5

# decoder in use, condition encoder (reference section 1.5)
PARAMETERS = {"base": (60_276_227, 10_786_048), "large": (160_136_835, 24_264_576), "large2x": (371_966_467, 43_133_440)}


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def networks_of(config: TrainConfig) -> Networks:
    """What `build` makes of a preset, without its downloads."""
    model = asymmetric(config.model, STABLE_DIFFUSION)
    shape = jax.eval_shape(lambda: fresh_decoder(model, jax.random.key(0)))
    return Networks(
        vae=STABLE_DIFFUSION,
        model=model,
        critic=Critic(config.critic.channels, config.critic.layers, config.critic.norm_images),
        recipe=find_recipe(config.data.mask).scaled(config.data.image_size),
        full_mask_probability=config.data.full_mask_probability,
        decoder_tx=decoder_optimiser(config.optim, shape),
        critic_tx=critic_optimiser(config.optim, config.loss.critic_start),
    )


@pytest.mark.parametrize("name", PARAMETERS)
def test_published_sizes(name):
    config = load_preset(name, CONFIGS)
    state = jax.eval_shape(lambda: initial_state(config, networks_of(config), jax.random.key(0), None))
    assert (count(state.decoder), count(state.decoder["condition_encoder"])) == PARAMETERS[name]
    assert count(state.critic) == 2_765_633


@pytest.mark.parametrize(("name", "batch", "rate"), [("base", 80, 3.6e-4), ("large", 32, 1.44e-4), ("large2x", 16, 7.2e-5)])
def test_published_run(name, batch, rate):
    """12 epochs of 1,152,196 pictures; the rate is 4.5e-6 for each picture of the batch (reference section 6)."""
    config = load_preset(name, CONFIGS)
    assert config.data.batch_size == batch
    assert config.optim.steps == 12 * (1_152_196 // batch)
    np.testing.assert_allclose([config.optim.learning_rate, 4.5e-6 * batch], rate)


@pytest.mark.slow
def test_a_step_of_the_base_model_at_64_pixels():
    base = load_preset("base", CONFIGS)
    changes = {"data": base.data.model_copy(update={"image_size": 64, "batch_size": 2})}
    changes["loss"] = base.loss.model_copy(update={"critic_start": 0, "adversarial_start": 0})
    config = base.model_copy(update=changes)
    networks = networks_of(config)
    blank = jnp.zeros((1, 64, 64, 3))
    frozen = {
        "vae": jax.jit(STABLE_DIFFUSION.init)(jax.random.key(1), blank)["params"],
        "lpips": {
            "vgg": jax.jit(VGG16().init)(jax.random.key(2), blank)["params"],
            "heads": tuple(jnp.full(width, 0.1) for width in (64, 128, 256, 512, 512)),
        },
    }
    state = jax.jit(functools.partial(initial_state, config, networks))(jax.random.key(0), frozen["vae"]["decoder"])
    before = jax.device_get(state.decoder["condition_encoder"]["layers_0"]["kernel"])
    pixels = jax.random.randint(jax.random.key(3), (2, 64, 64, 3), 0, 256).astype(jnp.uint8)
    step = jax.jit(
        functools.partial(train_step, networks, config.loss, config.optim.ema_decay, critic_awake=True), donate_argnums=2
    )
    state, metrics = step(frozen, jax.random.key(0), state, pixels)
    assert metrics["finite"] == 1
    assert metrics["adaptive_weight"] > 0
    # The first Adam step moves every weight by the rate of step 0, 1% of the peak, wherever there is a gradient.
    moved = np.abs(state.decoder["condition_encoder"]["layers_0"]["kernel"] - before)
    np.testing.assert_allclose(np.median(moved), 3.6e-6, rtol=0.1)

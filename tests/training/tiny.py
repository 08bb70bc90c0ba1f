"""The smallest real run: every part of a large one, in seconds on a CPU."""

from pathlib import Path

import jax
import numpy as np

from asym_jax.config import CheckpointConfig, CriticConfig, DataConfig, LogConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig
from asym_jax.models.autoencoder import AutoencoderKL
from asym_jax.weights import save_pretrained
from asym_jax.weights.architecture import abstract_params

GROUPS = (("condition_encoder", 1.0), (".*", 0.1))


def save_vae(folder: Path, channels: tuple[int, ...]) -> str:
    """Writes an autoencoder with random weights, norm scales around 1; returns where."""
    model = AutoencoderKL(block_out_channels=channels, layers_per_block=1, norm_num_groups=2)
    random = np.random.default_rng(0)

    def draw(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        fan_in = max(np.prod(leaf.shape[:-1]), 10)
        values = random.normal(size=leaf.shape) * fan_in**-0.5
        return (values + (path[-1].key == "scale")).astype(np.float32)

    save_pretrained(folder, model, jax.tree_util.tree_map_with_path(draw, abstract_params(model)))
    return str(folder)


def tiny_config(
    vae: str,
    *,
    channels: tuple[int, ...] = (4, 8),
    image_size: int = 16,
    batch_size: int = 8,
    norm_images: int = 2,
    critic_start: int = 0,
    adversarial_start: int = 0,
    learning_rate: float = 1e-3,
    steps: int = 6,
    ema_decay: float = 0.5,
    held_out: int = 0,
) -> TrainConfig:
    """A run with critic, average and two groups of rates, but without LPIPS, whose weights are not ours to ship."""
    return TrainConfig(
        model=ModelConfig(vae=vae, channels=channels, layers_per_block=1, norm_groups=2),
        critic=CriticConfig(channels=4, layers=2, norm_images=norm_images),
        loss=LossConfig(perceptual=0.0, critic_start=critic_start, adversarial_start=adversarial_start),
        optim=OptimConfig(steps=steps, learning_rate=learning_rate, warmup_steps=2, groups=GROUPS, ema_decay=ema_decay),
        data=DataConfig(image_size=image_size, batch_size=batch_size, held_out=held_out, threads=1),
        checkpoint=CheckpointConfig(every=2),
        log=LogConfig(every=1, evaluate_every=3, samples=2),
    )

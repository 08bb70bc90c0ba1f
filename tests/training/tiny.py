"""The smallest real run: every part of a large one, in seconds on a CPU."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from asym_jax.config import TrainConfig
from asym_jax.models.autoencoder import AutoencoderKL
from asym_jax.weights import save_pretrained
from asym_jax.weights.architecture import abstract_params


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


def tiny_config(vae: str, channels: tuple[int, ...] = (4, 8), **changes: dict[str, Any]) -> TrainConfig:
    """A run with critic, average and two groups of rates, but without LPIPS, whose weights do not come with this package.

    `changes` go into sections: `optim={"steps": 8}`.
    """
    sections: dict[str, dict[str, Any]] = {
        "model": {"vae": vae, "channels": channels, "layers_per_block": 1, "norm_groups": 2},
        "critic": {"channels": 4, "layers": 2, "norm_images": 2},
        "loss": {"perceptual": 0.0, "critic_start": 0, "adversarial_start": 0},
        "optim": {"steps": 6, "learning_rate": 1e-3, "warmup_steps": 2, "ema_decay": 0.5},
        "data": {"image_size": 16, "batch_size": 8, "held_out": 0, "threads": 1},
        "checkpoint": {"every": 2},
        "log": {"every": 1, "evaluate_every": 3, "samples": 2},
        "sharding": {},
    }
    assert changes.keys() <= sections.keys()
    return TrainConfig(**{name: values | changes.get(name, {}) for name, values in sections.items()})

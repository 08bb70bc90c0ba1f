"""A tiny autoencoder with random weights, asymmetric decoders for it, and pictures: what an evaluation needs."""

import functools
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from asym_jax.arrays import Params
from asym_jax.data.evaluation_sets.examples import EvaluationExample
from asym_jax.evaluation.subjects import Decoder, Subjects
from asym_jax.models.autoencoder import AsymmetricAutoencoderKL, AutoencoderKL
from asym_jax.weights import save_pretrained
from asym_jax.weights.architecture import abstract_params

SIZE = 16


def subjects(*names: str, levels: int = 1) -> Subjects:
    """Decoders of these names, `ours` unless given, and their autoencoder: all share the encoder, as after a training.

    One level, stride 1, compiles in half the time of two.
    """
    vae, ours = (4, 8)[:levels], (8, 12)[:levels]
    plain = AutoencoderKL(vae, 1, norm_num_groups=4, sample_size=SIZE)
    asymmetric = AsymmetricAutoencoderKL(vae, 1, ours, 1, norm_num_groups=4, sample_size=SIZE)
    weights = random_weights(plain, 0)
    shared = {half: weights[half] for half in ("encoder", "quant_conv", "post_quant_conv")}
    decoders = tuple(
        Decoder(name, f"file of {name}", asymmetric, random_weights(asymmetric, 1 + i) | shared)
        for i, name in enumerate(names or ("ours",))
    )
    return Subjects(plain, weights, "the VAE", decoders, SIZE)


@functools.cache
def random_weights(model: AutoencoderKL | AsymmetricAutoencoderKL, seed: int) -> Params:
    """Such that pictures stay near [-1, 1]."""
    random = np.random.default_rng(seed)

    def draw(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        values = random.normal(size=leaf.shape) * 0.5 / max(np.prod(leaf.shape[:-1]), 4) ** 0.5
        return (values + (path[-1].key == "scale")).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, abstract_params(model))


def save_decoders(folder: Path, levels: int = 1) -> tuple[Path, Path]:
    """Writes folder/vae and folder/decoder; returns both."""
    both = subjects(levels=levels)
    save_pretrained(folder / "vae", both.vae, both.vae_params)
    save_pretrained(folder / "decoder", both.decoders[0].model, both.decoders[0].params)
    return folder / "vae", folder / "decoder"


def examples(count: int) -> list[EvaluationExample]:
    """Holes of several sizes; picture 3 is masked everywhere."""
    masks = np.zeros((count, SIZE, SIZE, 1), np.float32)
    for i in range(count):
        masks[i, i:12, 2:9] = 1
    masks[3:4] = 1
    return [
        EvaluationExample(i, f"folder/{i}", picture, mask)
        for i, (picture, mask) in enumerate(zip(noise(count), masks, strict=True))
    ]


def noise(count: int, height: int = SIZE, width: int = SIZE, seed: int = 0) -> np.ndarray:
    """Pictures of coarse random colours, uint8."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, -(-height // 4), -(-width // 4), 3), dtype=np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width]


def write(folder: Path, pictures: dict[str, np.ndarray]) -> Path:
    """Writes a file for each array; returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / name)
    return folder

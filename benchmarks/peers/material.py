"""Random weights and inputs, drawn once and written down for all peers.

The autoencoder is saved as PyTorch's diffusers reads it, by this package's own conversion; smaller networks and inputs as
plain arrays in our layout, which each peer turns around by itself.
"""

from pathlib import Path

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from asym_jax.arrays import Params
from asym_jax.models.autoencoder import AsymmetricAutoencoderKL
from asym_jax.models.critic import Critic
from asym_jax.models.vgg import VGG16
from asym_jax.weights import save_pretrained
from asym_jax.weights.architecture import abstract_params
from asym_jax.weights.networks import HEAD_WIDTHS
from benchmarks.measuring.operations import Shape

TINY = AsymmetricAutoencoderKL((8, 16, 32, 32), 1, (8, 16, 32, 32), 1, norm_num_groups=2)
MODELS = {
    "base": AsymmetricAutoencoderKL(up_block_out_channels=(128, 256, 512, 512), layers_per_up_block=2),
    "large": AsymmetricAutoencoderKL(up_block_out_channels=(192, 384, 768, 768), layers_per_up_block=3),
    "large2x": AsymmetricAutoencoderKL(up_block_out_channels=(256, 512, 1024, 1024), layers_per_up_block=5),
    "tiny": TINY,  # for tests
}


def shape_of(model: str) -> Shape:
    """What `operations` counts with."""
    sizes = MODELS[model]
    return Shape(sizes.down_block_out_channels, sizes.layers_per_down_block, sizes.up_block_out_channels, sizes.layers_per_up_block)


def drawn(shapes: Params, seed: int = 0, *, relu: bool = False) -> Params:
    """Arrays of these shapes that keep the size of activations from layer to layer.

    Kernels N(0, 1/fan_in), twice that variance where a ReLU halves it (in all of them, or in the condition encoder); scales
    around 1 and biases around 0, but neither exactly, so that forgetting one is seen.
    """
    random = np.random.default_rng(seed)

    def draw(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        names = [str(getattr(step, "key", step)) for step in path]
        values = random.standard_normal(leaf.shape, np.float32)
        if names[-1] == "var":
            return 0.5 + np.square(values) / 2
        if len(leaf.shape) < 2:
            return np.float32(names[-1] == "scale") + np.float32(0.1) * values
        gain = 2.0 if relu or "condition_encoder" in names else 1.0
        return values * np.float32((gain / np.prod(leaf.shape[:-1])) ** 0.5)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def write_autoencoder(folder: Path, model: str) -> Path:
    """The whole autoencoder with drawn weights, unless it is there already; returns where."""
    place = folder / model
    if not place.exists():
        save_pretrained(place, MODELS[model], drawn(abstract_params(MODELS[model])))
    return place


def critic_of(model: str) -> Critic:
    """Of the published size, with a small one for `tiny`; statistics are over whatever batch it gets."""
    return Critic(4, 2, 2**20) if model == "tiny" else Critic(norm_images=2**20)


def write_losses(folder: Path, model: str) -> None:
    """Critic, VGG16 and the heads of LPIPS, as arrays named `conv_in/kernel` in our layout."""
    blank = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
    for name, network in (("critic", critic_of(model)), ("vgg", VGG16())):
        shapes = jax.eval_shape(network.init, jax.random.key(0), blank)["params"]
        np.savez(folder / f"{name}-{model}.npz", **flatten_dict(drawn(shapes, relu=True), sep="/"))
    random = np.random.default_rng(1)
    np.savez(folder / f"heads-{model}.npz", *(random.uniform(0, 0.1, width).astype(np.float32) for width in HEAD_WIDTHS))


def read_arrays(folder: Path, name: str, model: str) -> dict[str, np.ndarray]:
    """What `write_losses` wrote."""
    with np.load(folder / f"{name}-{model}.npz") as file:
        return dict(file)


def pictures(size: int, count: int) -> np.ndarray:
    """Smooth waves, each picture with others, in [-1, 1]: float32 of shape (count, size, size, 3)."""
    down, across = np.mgrid[:size, :size].astype(np.float32) / size
    waves = [[np.sin((3 + 4 * c + n) * (down + (c + 1) * across) + n) for c in range(3)] for n in range(count)]
    return np.array(waves, np.float32).transpose(0, 2, 3, 1)


def pixels(size: int, count: int) -> np.ndarray:
    """The same as files store them: uint8."""
    return np.round((pictures(size, count) + 1) * 127.5).astype(np.uint8)


def masks(size: int, count: int) -> np.ndarray:
    """1 in a box that is to be regenerated, another one for each picture; float32 of shape (count, size, size, 1)."""
    result = np.zeros((count, size, size, 1), np.float32)
    for n in range(count):
        start = (n % 4) * size // 16
        result[n, start + size // 8 : size // 2 + start, size // 5 : -size // 5] = 1
    return result


def latents(size: int, count: int, channels: int = 4) -> np.ndarray:
    """Standard normal ones of pictures of that size."""
    return np.random.default_rng(size).standard_normal((count, size // 8, size // 8, channels), np.float32)

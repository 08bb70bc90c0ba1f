"""Makes the small autoencoder that ships in `asym_jax/assets/demo_vae`.

    python -m tools.train_vae --photos DIR [--steps 4200] [--out asym_jax/assets/demo_vae]

It has the layout of Stable Diffusion's autoencoder (f8, 4 latent channels) at a
fiftieth of its size, learns from random crops of photos and synthetic scenes,
one in four, and is graded on the last pictures of the folder, which it
never trains on. The result is a diffusers folder with a model card.
"""

import dataclasses
import itertools
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from PIL import Image

from asym_jax.arrays import Images, NewFeatures, Params, PRNGKey, Scalar
from asym_jax.data.crops import centre_crop
from asym_jax.data.sources import Source, open_source, split
from asym_jax.data.stream import batches
from asym_jax.models.autoencoder import AutoencoderKL
from asym_jax.weights import save_pretrained

FEATURE_RMS = 0.25
"""About what a convolution with PyTorch's initial values makes of a picture."""

MODEL = AutoencoderKL(block_out_channels=(16, 32, 64, 64), layers_per_block=1, norm_num_groups=8, sample_size=128)


@dataclasses.dataclass(frozen=True)
class Settings:
    photos: Path
    """Folder of photos."""
    out: Path = Path("asym_jax/assets/demo_vae")
    steps: int = 4_200
    batch_size: int = 8
    """A quarter of it synthetic scenes."""
    image_size: int = 64
    """Side of the training crops. They span 0.35 to 0.7 of a photo, the detail of whole photos at about 128 pixels."""
    held_out: int = 100
    """Photos at the end of the folder that are only graded."""
    learning_rate: float = 1.5e-3
    kl_weight: float = 1e-6
    average_decay: float = 0.998
    seed: int = 0


def to_floats(pixels: np.ndarray) -> jax.Array:
    return jnp.asarray(pixels, jnp.float32) / 127.5 - 1


def mixed_batches(settings: Settings) -> Iterator[np.ndarray]:
    """Yields uint8 batches, three photos to one synthetic scene."""
    photos, _ = split(open_source(f"folder:{settings.photos}"), settings.held_out)
    scenes = settings.batch_size // 4
    shape = {"image_size": settings.image_size, "seed": settings.seed, "threads": 2}
    for pair in zip(
        batches(photos, batch_size=settings.batch_size - scenes, crop_scale=(0.35, 0.7), **shape),
        batches(open_source("synthetic"), batch_size=scenes, crop_scale=(0.35, 0.8), **shape),
        strict=False,
    ):
        yield np.concatenate(pair)


def objective(params: Params, key: PRNGKey, images: Images, kl_weight: float) -> tuple[Scalar, Scalar]:
    """Mean squared error plus a weak pull of the posterior to a unit Gaussian."""
    posterior = MODEL.apply({"params": params}, images, method="encode")
    decoded = MODEL.apply({"params": params}, posterior.sample(key), method="decode")
    kl = 0.5 * (jnp.square(posterior.mean) + jnp.exp(posterior.logvar) - 1 - posterior.logvar)
    error = jnp.mean(jnp.square(decoded - images))
    return error + kl_weight * jnp.sum(kl) / images.shape[0], error


def train(settings: Settings) -> Params:
    """Returns the averaged parameters."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, settings.learning_rate, 100, settings.steps, 1e-5)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule, b2=0.99))
    root = jax.random.key(settings.seed)
    blank = jnp.zeros((1, settings.image_size, settings.image_size, 3))
    params = almost_linear(jax.jit(MODEL.init)(root, blank)["params"])

    @jax.jit
    def update(params, average, state, step, images):
        key = jax.random.fold_in(root, step)
        (_, error), gradients = jax.value_and_grad(objective, has_aux=True)(params, key, images, settings.kl_weight)
        updates, state = optimiser.update(gradients, state)
        params = optax.apply_updates(params, updates)
        decay = jnp.minimum(settings.average_decay, (step + 1) / (step + 10))
        return params, optax.incremental_update(params, average, 1 - decay), state, error

    average, state = params, optimiser.init(params)
    begin = time.time()
    for step, pixels in enumerate(itertools.islice(mixed_batches(settings), settings.steps)):
        params, average, state, error = update(params, average, state, step, to_floats(pixels))
        if step % 100 == 99:
            rate = (step + 1) * settings.batch_size / (time.time() - begin)
            print(f"step {step + 1}: PSNR {psnr(error):.2f} dB on the batch, {rate:.1f} images/s", flush=True)
    return average


def almost_linear(params: Params) -> Params:
    """Initial values that pass the picture through: variance is kept, residual branches are faint, latents almost certain.

    Group normalisation hides brightness and contrast from the residual branches;
    with PyTorch's initial values they drown the skip path that carries both, and
    the first thousands of steps go into finding it again.
    """

    def adjust(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name.endswith("bias"):
            return jnp.zeros_like(leaf)
        if name.endswith("kernel"):
            branch_end = "conv2" in name or "proj_attn" in name
            return leaf * np.sqrt(3) * (0.1 if branch_end else 1.0)
        return leaf

    params = jax.tree_util.tree_map_with_path(adjust, params)
    bias = params["quant_conv"]["bias"]
    params["quant_conv"]["bias"] = bias.at[MODEL.latent_channels :].set(-5.0)
    return params


def calm(params: Params, images: Images) -> Params:
    """The same decoder, but with features of RMS `FEATURE_RMS` where its last normalisation reads them.

    Every residual branch of the decoder starts with a normalisation, so scaling all
    that is added to its feature stream (first convolution, ends of branches, biases on
    the way) scales the stream and hardly changes a picture (the normalisations' epsilon does not scale). Unchecked, `almost_linear`
    leads to features fifty times larger than those of a fresh condition encoder,
    which then vanish in the normalisation of the blended map, and copying is hardly learnt.
    """
    decoder = params["decoder"]
    features = MODEL.apply({"params": params}, images, method=_last_features)
    factor = FEATURE_RMS / jnp.sqrt(jnp.mean(jnp.square(features)))

    def scale(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        enters = re.match("conv_in/", name) or re.search("(conv2|proj_attn)/", name)
        passes = re.search("(conv_shortcut|upsamplers_0/conv)/bias", name)
        return leaf * factor if enters or passes else leaf

    return params | {"decoder": jax.tree_util.tree_map_with_path(scale, decoder)}


def _last_features(model: AutoencoderKL, images: Images) -> NewFeatures:
    """What the decoder's last normalisation receives."""
    decoder = model.decoder
    features = decoder.mid_block(decoder.conv_in(model.post_quant_conv(model.encode(images).mean)))
    for block in decoder.up_blocks:
        features = block(features)
    return features


def psnr(squared_error: float | Scalar) -> float:
    """PSNR in dB of a mean squared error between pictures in [-1, 1]."""
    return float(10 * np.log10(4 / squared_error))


def grade(params: Params, source: Source, size: int = 128) -> dict[str, float]:
    """Mean PSNR (clipped, 8-bit pictures) at `size` pixels, of the autoencoder and of 8x area shrinking plus bicubic enlarging."""
    decode = jax.jit(lambda images: MODEL.apply({"params": params}, images))
    ours, bicubic = [], []
    for index in range(len(source)):
        pixels = centre_crop(source[index], size=size)
        decoded = np.asarray(decode(to_floats(pixels[None])))[0]
        decoded = np.clip(np.round((decoded + 1) * 127.5), 0, 255)
        small = Image.fromarray(pixels).resize((size // 8, size // 8), Image.Resampling.BOX)
        enlarged = np.asarray(small.resize((size, size), Image.Resampling.BICUBIC), np.float64)
        for scores, picture in ((ours, decoded), (bicubic, enlarged)):
            scores.append(psnr(np.mean(np.square((picture - pixels) / 127.5))))
    return {"pictures": len(ours), "psnr": float(np.mean(ours)), "bicubic_psnr": float(np.mean(bicubic))}


def main(settings: Settings) -> None:
    begin = time.time()
    params = train(settings)
    params = calm(params, to_floats(next(mixed_batches(settings))))
    minutes = (time.time() - begin) / 60
    save_pretrained(settings.out, MODEL, params, dtype=np.float16)
    _, held_out = split(open_source(f"folder:{settings.photos}"), settings.held_out)
    scores = grade(params, held_out)
    write_card(settings, scores, minutes)
    print(json.dumps(scores))


def write_card(settings: Settings, scores: dict[str, float], minutes: float) -> None:
    """Writes README.md beside the weights."""
    size = sum(x.stat().st_size for x in settings.out.iterdir()) / 1e6
    (settings.out / "README.md").write_text(
        f"""# A small autoencoder for demonstrations

The layout of Stable Diffusion's KL autoencoder (f8, 4 latent channels) with widths {MODEL.block_out_channels} and
{MODEL.layers_per_block} residual block per level: {size:.1f} MB in float16, diffusers `AutoencoderKL` format. It exists so that
the demo needs no download. Its latents belong to no diffusion model, and it blurs text and fine
lines badly, as small latents do: that is the damage that mask-conditioned decoders repair.

* Data: random crops at {settings.image_size} pixels; three of four from a private folder of photos of everyday objects
  and animals (for research only, not distributed; the last {scores["pictures"]} held out), one of four from
  `asym_jax.data.synthetic`.
* Loss: mean squared error plus {settings.kl_weight:g} times the KL divergence per picture.
* Adam, peak rate {settings.learning_rate:g}, cosine, {settings.steps} steps of {settings.batch_size} crops,
  averaged weights ({settings.average_decay}); {minutes:.0f} minutes on 2 busy CPU cores.
* Command: `python -m tools.train_vae --photos DIR`
* Grade on the held-out photos (central square at 128 pixels, 8-bit, mean over {scores["pictures"]} pictures):
  PSNR {scores["psnr"]:.2f} dB; area shrinking by 8 and bicubic enlarging reaches {scores["bicubic_psnr"]:.2f} dB.
"""
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__, args=sys.argv[1:]))

"""Measurements on pictures that are never trained on."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, UInt8
from PIL import Image

from asym_jax.arrays import Mask, Params, Pixels
from asym_jax.data.crops import centre_crop
from asym_jax.data.masks import fixed_masks
from asym_jax.data.sources import Source
from asym_jax.metrics.quantise import quantise
from asym_jax.metrics.scores import PictureScores, Summary, compare
from asym_jax.sheets import draw_sheet, masked_pixels
from asym_jax.training import hosts
from asym_jax.training.networks import Networks
from asym_jax.training.sharding import batch_sharding, replicated


class _Versions(NamedTuple):
    plain: Pixels
    ours: Pixels


class HeldOut:
    """The central squares of the held-out pictures, each with a fixed hole; none is masked everywhere."""

    def __init__(self, networks: Networks, source: Source, mesh: Mesh, *, recipe: str, image_size: int, batch_size: int) -> None:
        self.pixels: UInt8[np.ndarray, "n H W 3"] = np.stack([centre_crop(source[i], size=image_size) for i in range(len(source))])
        self.masks: Float[np.ndarray, "n H W 1"] = fixed_masks(recipe, count=len(source), size=image_size)
        self._batch_size = batch_size
        self._place = batch_sharding(mesh)

        def score(frozen: Params, decoder: Params, pixels: Pixels, mask: Mask):
            image = pixels.astype(jnp.float32) / 127.5 - 1
            versions = _Versions(*map(quantise, networks.reconstruct(frozen, decoder, image, mask)))
            return versions, [compare(pixels, version, mask) for version in versions]

        everywhere = replicated(mesh)
        self._score = jax.jit(score, in_shardings=(None, None, self._place, self._place), out_shardings=everywhere)

    def measure(self, frozen: Params, decoder: Params) -> dict[str, float]:
        """Scores of our decoder (`held_out/...`) and of the plain autoencoder (`held_out/plain_...`)."""
        summaries: dict[str, Summary] = {}
        for scores, valid in self._batches(frozen, decoder):
            for name, one in zip(("plain_", ""), scores, strict=True):
                part = Summary.of(jax.device_get(one), valid)
                summaries[name] = summaries[name].merge(part) if name in summaries else part
        results = {name: summary.results() for name, summary in summaries.items()}
        return {
            f"held_out/{name}{metric}": values[metric]
            for name, values in results.items()
            for metric in ("l1", "pre_error", "psnr", "ssim")
            if values[metric] is not None
        }

    def sheet(self, frozen: Params, decoder: Params, rows: int) -> Image.Image:
        """The first `rows` pictures: original, what the decoder may see, the plain autoencoder, ours."""
        pixels, mask = self.pixels[:rows], self.masks[:rows]
        count = len(pixels)
        versions, _ = self._score(frozen, decoder, *self._padded(pixels, mask))
        plain, ours = (np.asarray(version)[:count] for version in versions)
        return draw_sheet({"original": pixels, "masked": masked_pixels(pixels, mask), "plain VAE": plain, "ours": ours})

    def _batches(self, frozen: Params, decoder: Params) -> Iterator[tuple[list[PictureScores], np.ndarray]]:
        for start in range(0, len(self.pixels), self._batch_size):
            stop = min(start + self._batch_size, len(self.pixels))
            _, scores = self._score(frozen, decoder, *self._padded(self.pixels[start:stop], self.masks[start:stop]))
            yield scores, np.arange(self._batch_size) < stop - start

    def _padded(self, *arrays: np.ndarray) -> list[jax.Array]:
        """Fills up to the one batch size that is compiled, and spreads it over the devices."""
        rest = self._batch_size - len(arrays[0])
        filled = [np.pad(array, [(0, rest)] + [(0, 0)] * (array.ndim - 1)) for array in arrays]
        return hosts.spread(filled, [self._place] * len(filled))

"""Measurements on pictures that are never trained on."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, UInt8
from PIL import Image

from asym_jax.arrays import Latents, Mask, Params, PerImage, Pixels
from asym_jax.data.crops import centre_crop
from asym_jax.data.masks import fixed_masks
from asym_jax.data.sources import Source
from asym_jax.losses.lpips import lpips
from asym_jax.metrics.quantise import quantise
from asym_jax.metrics.scores import PictureScores, Summary, compare
from asym_jax.sheets import draw_sheet, masked_pixels
from asym_jax.training.networks import Networks
from asym_jax.training.sharding import batch_sharding, replicated
from asym_jax.weights.networks import LpipsWeights

METRICS = ("l1", "pre_error", "psnr", "ssim")


class Measured(NamedTuple):
    """What there is to say of one version of a batch."""

    pixels: Pixels
    scores: PictureScores
    lpips: PerImage  # NaN without weights


class _Plain(NamedTuple):
    """What does not depend on the decoder that is trained."""

    latents: list[np.ndarray]  # by batch
    pictures: UInt8[np.ndarray, "rows H W 3"]
    results: dict[str, float]


class HeldOut:
    """The central squares of the held-out pictures, each with a fixed hole; none is masked everywhere.

    They are encoded, and the plain autoencoder is measured, at the first call only: neither ever changes. Every
    result is a copy on each device, so that each process has all of it.
    """

    def __init__(
        self,
        networks: Networks,
        source: Source,
        mesh: Mesh,
        *,
        recipe: str,
        image_size: int,
        batch_size: int,
        rows: int = 0,
        perceptual: LpipsWeights | None = None,
    ) -> None:
        """`rows` pictures, at most a batch, can be drawn by `sheet`; without `perceptual` LPIPS is left out."""
        self.pixels: UInt8[np.ndarray, "n H W 3"] = np.stack([centre_crop(source[i], size=image_size) for i in range(len(source))])
        self.masks: Float[np.ndarray, "n H W 1"] = fixed_masks(recipe, count=len(source), size=image_size)
        self._batch_size, self._rows = batch_size, min(rows, batch_size, len(source))
        self._place, everywhere = batch_sharding(mesh), replicated(mesh)
        self._perceptual = None
        self._lpips_name = "lpips"
        if perceptual:
            self._perceptual = jax.device_put((perceptual.vgg, perceptual.heads), everywhere)
            self._lpips_name = "lpips" if perceptual.verified else "unverified_lpips"
        self._plain: _Plain | None = None
        self._shown: UInt8[np.ndarray, "rows H W 3"] | None = None

        def measured(version: Array, pixels: Pixels, mask: Mask, perceptual: tuple | None) -> Measured:
            version = quantise(version)
            pair = [array.astype(jnp.float32) / 127.5 - 1 for array in (pixels, version)]
            distance = lpips(*perceptual, *pair) if perceptual else jnp.full(len(pixels), jnp.nan)
            return Measured(version, compare(pixels, version, mask), distance)

        def plain(frozen: Params, perceptual: tuple | None, pixels: Pixels, mask: Mask) -> tuple[Latents, Measured]:
            latents = networks.mean_latents(frozen, pixels.astype(jnp.float32) / 127.5 - 1)
            return latents, measured(networks.decode_plainly(frozen, latents), pixels, mask, perceptual)

        def ours(frozen: Params, decoder: Params, perceptual: tuple | None, latents: Latents, pixels: Pixels, mask: Mask):
            image = pixels.astype(jnp.float32) / 127.5 - 1
            versions = {
                "": networks.decode(frozen, decoder, latents, image=image, mask=mask),
                "unmasked_": networks.decode(frozen, decoder, latents),
            }
            return {name: measured(version, pixels, mask, perceptual) for name, version in versions.items()}

        self._measure_plain = jax.jit(plain, out_shardings=everywhere)
        self._measure_ours = jax.jit(ours, out_shardings=everywhere)

    def measure(self, frozen: Params, decoder: Params) -> dict[str, float]:
        """Scores of the plain autoencoder (`held_out/plain_...`) and of our decoder.

        The latter with the pictures outside their fixed holes to copy from (`held_out/...`), and without any picture, which
        is how text-to-image uses it (`held_out/unmasked_...`, its pre_error over the same kept pixels).
        """
        if self._plain is None:
            self._plain = self._look_at_plain(frozen)
        tables: dict[str, _Table] = {}
        for latents, (valid, pixels, mask) in zip(self._plain.latents, self._batches(), strict=True):
            versions = self._measure_ours(frozen, decoder, self._perceptual, self._spread(latents), pixels, mask)
            if not tables:
                self._shown = np.asarray(versions[""].pixels)[: self._rows]
            for name, version in versions.items():
                tables.setdefault(name, _Table(self._lpips_name)).add(version, valid)
        return self._plain.results | {key: value for name, table in tables.items() for key, value in table.results(name).items()}

    def sheet(self) -> Image.Image:
        """The first `rows` pictures as last measured: original, what the decoder may see, the plain autoencoder, ours."""
        pixels, mask = self.pixels[: self._rows], self.masks[: self._rows]
        columns = {"original": pixels, "masked": masked_pixels(pixels, mask)}
        return draw_sheet(columns | {"plain VAE": self._plain.pictures, "ours": self._shown})

    def _look_at_plain(self, frozen: Params) -> _Plain:
        table, kept, pictures = _Table(self._lpips_name), [], None
        for valid, pixels, mask in self._batches():
            latents, version = self._measure_plain(frozen, self._perceptual, pixels, mask)
            kept.append(np.asarray(latents))
            pictures = np.asarray(version.pixels)[: self._rows] if pictures is None else pictures
            table.add(version, valid)
        return _Plain(kept, pictures, table.results("plain_"))

    def _batches(self) -> Iterator[tuple[np.ndarray, jax.Array, jax.Array]]:
        """Which rows are no padding, pictures and masks, of the one batch size that is compiled."""
        for start in range(0, len(self.pixels), self._batch_size):
            stop = min(start + self._batch_size, len(self.pixels))
            rest = self._batch_size - (stop - start)
            arrays = (np.pad(array[start:stop], [(0, rest)] + [(0, 0)] * 3) for array in (self.pixels, self.masks))
            yield np.arange(self._batch_size) < stop - start, *map(self._spread, arrays)

    def _spread(self, array: np.ndarray) -> jax.Array:
        """Over all devices; each process has the whole array and gives its devices their part."""
        return jax.make_array_from_callback(array.shape, self._place, lambda index: array[index])


class _Table:
    """Scores of one version, gathered batch by batch."""

    def __init__(self, lpips_name: str) -> None:
        self._summary: Summary | None = None
        self._lpips: list[float] = []
        self._lpips_name = lpips_name

    def add(self, version: Measured, valid: np.ndarray) -> None:
        part = Summary.of(jax.device_get(version.scores), valid)
        self._summary = self._summary.merge(part) if self._summary else part
        self._lpips.extend(np.asarray(version.lpips, np.float64)[valid])

    def results(self, name: str) -> dict[str, float]:
        """What could be measured, as `held_out/{name}{metric}`."""
        values = self._summary.results()
        measured = {metric: values[metric] for metric in METRICS if values[metric] is not None}
        if not np.isnan(self._lpips).all():
            measured[self._lpips_name] = float(np.mean(self._lpips))
        return {f"held_out/{name}{metric}": value for metric, value in measured.items()}

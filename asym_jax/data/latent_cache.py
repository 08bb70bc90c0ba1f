"""Crops that are the same in every epoch, and the encoder's output for them, read from disk.

A cache is a folder of shards, each with the crops of `SHARD` pictures: `00000.moments.npy`, float32 (pictures, crops,
h, w, 2z), and `00000.crops.npy`, a CRC-32 of each crop's pixels. Moments are kept in float32 because half precision
could shift the mean of a narrow posterior by more than its spread. Pixels are not kept: they would take six times as
much room, and pictures are read by threads that have time.
"""

import dataclasses
import functools
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import grain
import numpy as np
from jaxtyping import Array, Float, UInt8

from asym_jax.data.crops import Square, random_crop
from asym_jax.data.pictures import Picture
from asym_jax.data.sources import Source
from asym_jax.errors import InputError

SHARD = 1024
"""Pictures per file."""


class CachedBatch(NamedTuple):
    """Crops with the moments that the encoder gave for them; one element, or a batch."""

    pixels: UInt8[np.ndarray | Array, "*b S S 3"]
    moments: Float[np.ndarray | Array, "*b h w _"]


class Numbered(NamedTuple):
    """A picture and its place in the source."""

    index: int
    picture: Picture


@dataclasses.dataclass(frozen=True)
class FixedCrops:
    """`count` crops of each picture, a function of (seed, index) alone."""

    size: int
    scale: tuple[float, float]
    count: int
    seed: int

    def of(self, index: int, picture: Picture, which: int) -> Square:
        """Crop `which` of picture `index`."""
        return random_crop(picture, size=self.size, scale=self.scale, rng=np.random.default_rng([self.seed, index, which]))


@dataclasses.dataclass(frozen=True)
class LatentCache:
    """The shards of a cache that is whole."""

    folder: Path
    crops: FixedCrops

    def paths(self, shard: int) -> tuple[Path, Path]:
        """The moments of a shard, and the check sums of its crops; if the first is there, both are whole."""
        return self.folder / f"{shard:05}.moments.npy", self.folder / f"{shard:05}.crops.npy"

    def lookup(self, index: int, picture: Picture, which: int) -> CachedBatch:
        """Crop `which` of picture `index`, with its moments.

        Raises:
            InputError: the picture is not the one that was encoded.
        """
        pixels = self.crops.of(index, picture, which)
        moments, sums = _opened(*self.paths(index // SHARD))
        if sums[index % SHARD, which] != zlib.crc32(pixels.tobytes()):
            raise InputError(
                f"picture {index} (from 0) has changed since its latents were cached in {self.folder}; delete that folder, "
                "and the same command encodes the pictures again"
            )
        return CachedBatch(pixels, np.array(moments[index % SHARD, which]))


@functools.lru_cache(maxsize=4096)
def _opened(*paths: Path) -> list[np.ndarray]:
    """Mapped into memory: the system keeps what is used often."""
    return [np.load(path, mmap_mode="r") for path in paths]


class CachedSource:
    """The pictures of another source, numbered, with what is cached of them."""

    def __init__(self, source: Source, cache: LatentCache) -> None:
        self.source, self.cache = source, cache
        self.skipped = source.skipped

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Numbered:
        return Numbered(index, self.source[index])

    def __repr__(self) -> str:
        return f"CachedSource({self.source!r}, {self.cache!r})"

    def name(self, index: int) -> str:
        return self.source.name(index)


@dataclasses.dataclass(frozen=True)
class PickCachedCrop(grain.transforms.RandomMap):
    """One of a picture's fixed crops, and its moments."""

    cache: LatentCache

    def random_map(self, element: Numbered, rng: np.random.Generator) -> CachedBatch:
        return self.cache.lookup(*element, int(rng.integers(self.cache.crops.count)))


def check_sums(crops: Sequence[Square]) -> list[int]:
    """CRC-32 of each crop's pixels."""
    return [zlib.crc32(crop.tobytes()) for crop in crops]

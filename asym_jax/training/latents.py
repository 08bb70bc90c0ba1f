"""Fills the latent cache: every fixed crop of every picture goes through the frozen encoder once."""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType
from jaxtyping import UInt8

from asym_jax.arrays import Params, Pixels
from asym_jax.config import TrainConfig
from asym_jax.data.latent_cache import SHARD, CachedSource, FixedCrops, LatentCache, check_sums
from asym_jax.data.sources import Source
from asym_jax.errors import InputError
from asym_jax.training.inputs import digest
from asym_jax.training.networks import Networks
from asym_jax.training.sharding import DATA, batch_sharding, replicated
from asym_jax.training.workdir import write_json

REPORT_SECONDS = 30
"""Time between lines of progress."""


def with_cached_latents(
    config: TrainConfig, networks: Networks, frozen: Params, source: Source, own_folder: Path, note: Callable[[str], None]
) -> CachedSource:
    """The source with all its crops encoded: those missing in the cache are encoded now, each process its share of the shards.

    The cache lies in `data.cache_folder`, or else in `own_folder`, in a folder named by what its content depends on:
    the encoder's weights and compute type, the source, the crops. Whole shards survive a stop.

    Raises:
        InputError: the folder cannot be written, is too small, or is not one folder for all processes.
    """
    data = config.data
    crops = FixedCrops(data.image_size, data.crop_scale, data.cached_crops, config.seed)
    root = Path(data.cache_folder).expanduser().absolute() if data.cache_folder else own_folder
    identity = {"crops": str(crops), "source": repr(source), "encoder": digest(config.model.dtype, frozen)}
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    cache = LatentCache(root / f"cache_{name}", crops)
    shards = range(-(-len(source) // SHARD))
    missing = [shard for shard in shards if not cache.paths(shard)[0].exists()]
    if missing:
        encode = _Encoder(config, networks, frozen)
        _require_room(cache.folder, encode.bytes_per_crop * data.cached_crops * min(SHARD * len(missing), len(source)), identity)
        mine = [shard for shard in missing if shard % jax.process_count() == jax.process_index()]
        note(f"encoding {data.cached_crops} crops of each of {len(source):,} pictures once, into {cache.folder}")
        _fill(cache, source, mine, encode, data.threads, note)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("latent cache")
        absent = [shard for shard in shards if not cache.paths(shard)[0].exists()]
        if absent:
            raise InputError(
                f"data.latent_cache: {cache.folder} lacks what other processes encoded; set data.cache_folder to a folder "
                "that all hosts share"
            )
    return CachedSource(source, cache)


class _Encoder:
    """The compiled encoder, on the devices of this process."""

    def __init__(self, config: TrainConfig, networks: Networks, frozen: Params) -> None:
        devices = jax.local_devices()
        mesh = jax.make_mesh((len(devices),), (DATA,), axis_types=(AxisType.Auto,), devices=devices)
        share = -(-config.data.batch_size // jax.process_count())
        self.batch_size = -(-share // len(devices)) * len(devices)
        self._place = batch_sharding(mesh)
        kept = {name: tree for name, tree in jax.device_get(frozen["vae"]).items() if name != "decoder"}
        self._frozen = jax.device_put({"vae": kept}, replicated(mesh))

        def moments(frozen: Params, pixels: Pixels) -> jax.Array:
            return networks.moments(frozen, pixels.astype(jnp.float32) / 127.5 - 1)

        self._moments = jax.jit(moments, out_shardings=replicated(mesh))
        size = config.data.image_size
        blank = jax.ShapeDtypeStruct((1, size, size, 3), jnp.uint8)
        self.shape: tuple[int, ...] = jax.eval_shape(moments, {"vae": kept}, blank).shape[1:]
        self.bytes_per_crop = 4 * int(np.prod(self.shape))

    def __call__(self, pixels: UInt8[np.ndarray, "n S S 3"]) -> np.ndarray:
        """Moments of up to `batch_size` crops; fewer are filled up, so that one program is compiled."""
        filled = np.pad(pixels, [(0, self.batch_size - len(pixels)), (0, 0), (0, 0), (0, 0)])
        return np.asarray(self._moments(self._frozen, jax.device_put(filled, self._place)))[: len(pixels)]


def _fill(cache: LatentCache, source: Source, shards: list[int], encode: _Encoder, threads: int, note: Callable) -> None:
    """Writes shards one by one, the moments last and through temporary names: what is there is whole.

    Raises InputError if one cannot be written.
    """
    done, begin, said = 0, time.monotonic(), time.monotonic()
    total = sum(min(SHARD, len(source) - shard * SHARD) for shard in shards) * cache.crops.count
    with ThreadPoolExecutor(threads) as pool:
        for shard in shards:
            first = shard * SHARD
            count = min(SHARD, len(source) - first)
            paths = cache.paths(shard)
            moments = np.zeros((count, cache.crops.count, *encode.shape), np.float32)
            sums = np.zeros((count, cache.crops.count), np.uint32)
            flat_moments, flat_sums = moments.reshape(-1, *encode.shape), sums.reshape(-1)
            at = 0
            for crops in _in_batches(pool, cache.crops, source, range(first, first + count), encode.batch_size):
                rows = slice(at, at + len(crops))
                flat_moments[rows], flat_sums[rows] = encode(crops), check_sums(list(crops))
                at, done = at + len(crops), done + len(crops)
                if time.monotonic() - said > REPORT_SECONDS:
                    said = time.monotonic()
                    speed = done / (said - begin)
                    left = (total - done) / speed / 60
                    note(f"encoded {done:,} of {total:,} crops, {speed:.0f} per second, {left:.0f} minutes left")
            for array, path in ((sums, paths[1]), (moments, paths[0])):
                _write(path, array)
    note(f"encoded {total:,} crops in {time.monotonic() - begin:.0f} s")


def _write(path: Path, array: np.ndarray) -> None:
    """Raises InputError if it cannot be written; nothing half-written stays behind."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            np.save(file, array)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise InputError(
            f"data.latent_cache: {path} cannot be written: {error.strerror or error}. What was encoded before stays: mend that, "
            "and the same command goes on"
        ) from error


def _in_batches(
    pool: ThreadPoolExecutor, crops: FixedCrops, source: Source, indices: range, size: int
) -> Iterator[UInt8[np.ndarray, "n S S 3"]]:
    """All crops of the pictures, picture by picture, in batches of `size`; pictures are read a few batches ahead."""

    def read(index: int) -> list[np.ndarray]:
        picture = source[index]
        return [crops.of(index, picture, which) for which in range(crops.count)]

    waiting: list[np.ndarray] = []
    step = max(1, 2 * size // crops.count)
    ahead = [pool.submit(read, index) for index in indices[:step]]
    for at in range(0, len(indices), step):
        present, ahead = ahead, [pool.submit(read, index) for index in indices[at + step : at + 2 * step]]
        for one in present:
            waiting += one.result()
            while len(waiting) >= size:
                yield np.stack(waiting[:size])
                waiting = waiting[size:]
    if waiting:
        yield np.stack(waiting)


def _require_room(folder: Path, needed: int, identity: dict[str, str]) -> None:
    """Raises InputError unless `folder` can be made and its disk holds `needed` more bytes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if jax.process_index() == 0:
            write_json(folder / "cache.json", identity)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise InputError(f"data.latent_cache: {folder} cannot be written: {error.strerror or error}") from error
    if needed > free:
        raise InputError(
            f"data.latent_cache needs {needed / 1e9:.1f} GB in {folder}, and {free / 1e9:.1f} GB are free: "
            "lower data.cached_crops, or set data.cache_folder to another disk"
        )

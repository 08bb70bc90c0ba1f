"""Memory, time and exactness of decoding in tiles, with the base decoder's sizes and random weights.

    python -m benchmarks.tiles analyse 2048            # what XLA says of the whole decode; nothing is computed
    python -m benchmarks.tiles whole 512 OUT.npy       # computes it whole
    python -m benchmarks.tiles tiled 512 OUT.npy 32    # the same in tiles, here with windows of 32 latents (64 if not given)
    python -m benchmarks.tiles compare ONE.npy OTHER.npy

ASYM_JAX_FILTERING=off keeps the transformed kernels and tiles of minimal filtering out of the memory of both.
"""

import argparse
import functools
import json
import resource
import time

import jax
import jax.numpy as jnp
import numpy as np

from asym_jax.models.autoencoder import AsymmetricAutoencoderKL
from asym_jax.models.tiles import decode_in_tiles
from asym_jax.weights.architecture import abstract_params

BASE = AsymmetricAutoencoderKL(up_block_out_channels=(128, 256, 512, 512), layers_per_up_block=2)
GIB = 2**30


def random_params() -> dict:
    """Weights of the size that keeps features in range, drawn on the host; float32."""
    random = np.random.default_rng(0)

    def draw(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if len(leaf.shape) < 2:
            return np.full(leaf.shape, float(path[-1].key == "scale"), np.float32)
        return random.standard_normal(leaf.shape, np.float32) / np.float32(np.prod(leaf.shape[:-1]) ** 0.5)

    return jax.tree_util.tree_map_with_path(draw, abstract_params(BASE))


def inputs(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents, a smooth picture, and a mask with a hole across the middle."""
    random = np.random.default_rng(1)
    down, across = np.mgrid[:side, :side].astype(np.float32) / side
    waves = [np.sin(k * (down + k * across)) for k in (3, 7, 11)]
    mask = np.zeros((1, side, side, 1), np.float32)
    mask[:, side // 4 : side // 2, side // 5 : -side // 5] = 1
    return random.standard_normal((1, side // 8, side // 8, 4), np.float32), np.stack(waves, -1)[None], mask


def whole(params: dict, latents: np.ndarray, image: np.ndarray, mask: np.ndarray) -> jax.Array:
    return BASE.apply({"params": params}, latents, image=image, mask=mask, method="decode")


def analyse(side: int) -> dict:
    shapes = [jax.ShapeDtypeStruct((1, side // k, side // k, c), jnp.float32) for k, c in ((8, 4), (1, 3), (1, 1))]
    memory = jax.jit(whole).lower(abstract_params(BASE), *shapes).compile().memory_analysis()
    return {
        "side": side,
        "temporary_gib": round(memory.temp_size_in_bytes / GIB, 2),
        "arguments_gib": round(memory.argument_size_in_bytes / GIB, 2),
    }


def measure(kind: str, side: int, out: str, window: int = 64) -> dict:
    params = jax.device_put(random_params())
    latents, image, mask = inputs(side)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    start = time.perf_counter()
    if kind == "tiled":
        pictures = decode_in_tiles(BASE, params, latents, image=image, mask=mask, window=window)
    else:
        pictures = np.asarray(jax.jit(whole)(params, latents, image, mask))
    seconds = time.perf_counter() - start
    np.save(out, pictures)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "kind": kind,
        "side": side,
        "seconds": round(seconds, 1),
        "peak_gib": round(peak / GIB, 2),
        "peak_before_gib": round(before / GIB, 2),
        "largest": float(np.abs(pictures).max()),
    }


def compare(one: str, other: str) -> dict:
    a, b = np.load(one), np.load(other)
    return {"largest_difference": float(np.abs(a - b).max()), "largest": float(np.abs(a).max())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind in ("analyse", "whole", "tiled"):
        one = kinds.add_parser(kind)
        one.add_argument("side", type=int, help="of the picture, in pixels; a multiple of 8")
        if kind != "analyse":
            one.add_argument("out", metavar="OUT.npy", help="where the picture goes")
        if kind == "tiled":
            one.add_argument("window", type=int, nargs="?", default=64, help="longest side of a window in latents (default 64)")
    both = kinds.add_parser("compare")
    both.add_argument("one", metavar="ONE.npy")
    both.add_argument("other", metavar="OTHER.npy")
    given = vars(parser.parse_args())
    kind = given.pop("kind")
    run = {"analyse": analyse, "compare": compare}.get(kind) or functools.partial(measure, kind)
    print(json.dumps(run(**given) | {"jax": jax.__version__, "device": str(jax.devices()[0])}), flush=True)


if __name__ == "__main__":
    main()

"""How the time of one update grows with the batch and with the size of pictures, on one device.

    python -m benchmarks.step_growth [--rounds 5]

Random weights and pictures: time does not depend on them. Every point is a program of its own, compiled as in training; the
fastest of the rounds counts, because other programs of the machine can only add to it. Processor seconds, summed over
threads, hardly feel them.
"""

import argparse
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType

from asym_jax.arrays import Params
from asym_jax.commands import load_preset
from asym_jax.config import TrainConfig
from asym_jax.models.vgg import VGG16
from asym_jax.training.costs import costs_of
from asym_jax.training.log import Log
from asym_jax.training.networks import Networks, initial_state
from asym_jax.training.program import Program
from asym_jax.training.sharding import DATA, batch_sharding, replicated
from benchmarks.abstract_run import networks_of, with_settings

RESULTS = Path(__file__).parent / "results" / "step_growth.json"
POINTS = {  # (batch, side)
    "demo": [(1, 64), (4, 64), (16, 64), (8, 32), (8, 64), (8, 128)],
    "base": [(1, 64), (4, 64), (1, 128)],
}


def configured(name: str, batch: int, side: int) -> TrainConfig:
    """The preset at that size, its critic awake and felt from the first step on."""
    preset = load_preset(name, Path(__file__).parents[1] / "configs")
    return with_settings(
        preset,
        data={"batch_size": batch, "image_size": side},
        critic={"norm_images": 1},
        loss={"critic_start": 0, "adversarial_start": 0},
    )


def frozen_weights(config: TrainConfig, networks: Networks) -> Params:
    """Freshly drawn ones."""
    blank = jnp.zeros((1, 64, 64, 3))
    frozen = {"vae": jax.jit(networks.vae.init)(jax.random.key(0), blank)["params"]}
    if config.loss.perceptual:
        heads = tuple(jnp.full(width, 0.1) for width in (64, 128, 256, 512, 512))
        frozen["lpips"] = {"vgg": jax.jit(VGG16().init)(jax.random.key(0), blank)["params"], "heads": heads}
    return frozen


def measure(name: str, batch: int, side: int, rounds: int) -> dict[str, Any]:
    """Seconds of one update, and what XLA says of it."""
    config = configured(name, batch, side)
    networks = networks_of(config)
    mesh = jax.make_mesh((1,), (DATA,), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
    frozen = jax.device_put(frozen_weights(config, networks), replicated(mesh))
    state = jax.jit(lambda: initial_state(config, networks, jax.random.key(1), None), out_shardings=replicated(mesh))()
    pixels = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3)).astype(np.uint8)
    pixels = jax.device_put(pixels, batch_sharding(mesh))
    begin = time.perf_counter()
    step = Program(config, networks, mesh, Log.__new__(Log)).lower(frozen, state, critic_awake=True).compile()
    compile_seconds = time.perf_counter() - begin
    seconds, processor = [], []
    for _ in range(rounds + 1):
        begin, busy = time.perf_counter(), time.process_time()
        state, metrics = jax.block_until_ready(step(frozen, state, pixels))
        seconds.append(time.perf_counter() - begin)
        processor.append(time.process_time() - busy)
    costs = costs_of(step)
    best = min(seconds[1:])
    return {
        "preset": name,
        "batch": batch,
        "side": side,
        "seconds": best,
        "median": float(np.median(seconds[1:])),
        "processor_seconds": min(processor[1:]),
        "gflop": costs.flops / 1e9,
        "seconds_per_picture": best / batch,
        "milliseconds_per_gflop": best / costs.flops * 1e12,
        "processor_milliseconds_per_gflop": min(processor[1:]) / costs.flops * 1e12,
        "memory": costs.memory,
        "compile_seconds": compile_seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="measured updates of each point (default 5)")
    settings = parser.parse_args()
    rows = []
    for name, points in POINTS.items():
        for batch, side in points:
            rows.append(row := measure(name, batch, side, settings.rounds))
            print(
                "  ".join(f"{key} {f'{value:.4g}' if isinstance(value, float) else value}" for key, value in row.items()),
                flush=True,
            )
            record = {"machine": platform.platform(), "jax": version("jax"), "date": time.strftime("%F"), "rounds": settings.rounds}
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps({**record, "results": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()

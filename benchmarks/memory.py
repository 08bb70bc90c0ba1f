"""Memory per device of one update of `large2x`, by XLA's own analysis: replicated, split (FSDP), and with remat.

    python -m benchmarks.memory [--preset large2x] [--image-size 256] [--batch-size 16] [--devices 8]

Compiled for as many pretend CPU devices, from shapes alone; nothing is run. Three things differ from an ordinary compilation:
minimal filtering is off, because accelerators do not use it; backend optimisation is low, because it takes minutes and does
not decide where arrays live; and XLA's CPU compiler keeps the barriers that hold recomputed values apart from the first ones.
Usually it drops them early, finds both equal, and so undoes remat, which compilers for GPU and TPU do not.
"""

import argparse
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "memory.json"
KEEP_BARRIERS = "--xla_disable_hlo_passes=cse_barrier_expander"
PLANS = [{"fsdp": fsdp, "remat": remat, "accumulate": 1} for fsdp in (1, 0) for remat in ("none", "norms", "blocks")] + [
    {"fsdp": 0, "remat": "norms", "accumulate": 2}
]
"""What is compared; `fsdp` 0 stands for all devices. (bfloat16 would show nothing: the CPU's compiler widens it.)"""


def measure(settings: argparse.Namespace, plan: dict[str, Any]) -> dict[str, Any]:
    """XLA's analysis of the step with critic, the larger of the two."""
    from asym_jax.commands import load_preset
    from asym_jax.training.costs import costs_of
    from asym_jax.training.log import Log
    from asym_jax.training.program import Program
    from asym_jax.training.sharding import make_mesh
    from benchmarks.abstract_run import abstract_run, networks_of, with_settings

    preset = load_preset(settings.preset, Path(__file__).parents[1] / "configs")
    plan = plan | {"fsdp": plan["fsdp"] or settings.devices}
    config = with_settings(
        preset,
        data={"image_size": settings.image_size, "batch_size": settings.batch_size},
        critic={"norm_images": 1},  # any batch can be shared; the memory is the same
        model={"remat": plan["remat"]},
        optim={"accumulate": plan["accumulate"]},
        sharding={"fsdp": plan["fsdp"]},
    )
    networks = networks_of(config)
    mesh = make_mesh(config.data.batch_size, accumulate=plan["accumulate"], fsdp=plan["fsdp"])
    frozen, state = abstract_run(config, networks, mesh)
    begin = time.monotonic()
    compiled = Program(config, networks, mesh, Log.__new__(Log)).lower(frozen, state, critic_awake=True).compile()
    costs = costs_of(compiled, plan["accumulate"])
    return plan | costs._asdict() | {"memory": costs.memory, "compile_seconds": round(time.monotonic() - begin)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="large2x")
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--devices", type=int, default=8)
    settings = parser.parse_args()
    os.environ["ASYM_JAX_FILTERING"] = "off"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {KEEP_BARRIERS}"
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", settings.devices)
    jax.config.update("jax_disable_most_optimizations", True)
    rows = []
    for plan in PLANS:
        rows.append(row := measure(settings, plan))
        parts = "  ".join(f"{name} {row[name] / 2**30:6.2f}" for name in ("arguments", "temporaries", "memory"))
        name = f"fsdp {row['fsdp']} remat {row['remat']:6} accumulate {row['accumulate']}"
        print(f"{name}  GiB: {parts}  GFLOP {row['flops'] / 1e9:10,.0f}  compiled in {row['compile_seconds']} s", flush=True)
        record = {"machine": platform.platform(), "jax": version("jax"), "date": time.strftime("%F"), **vars(settings)}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps({**record, "results": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""How long the step of each preset takes to compile: from nothing, and from the persistent cache.

    python -m benchmarks.compile_time [--presets demo base large large2x] [--platform cpu] [--filtering off]

Each measurement is a process of its own: one with an empty cache, and then one with what that left behind. The program is that
of one device, with the preset's pictures per device, from shapes alone; nothing is run. Tracing and lowering are Python and are
repeated whatever the cache holds. Rows of other presets and forms stay in the results.

Minimal filtering (`asym_jax.models.convolutions`) exists on CPUs only; without it the program is what accelerators get.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "compile_time.json"
PER_DEVICE = {"demo": 8, "base": 10, "large": 4, "large2x": 2}
"""Pictures per device: `critic.norm_images`, the batch of one GPU in the released code."""


def measure(name: str, awake: bool) -> dict[str, Any]:
    """What one process finds, whatever its cache holds."""
    import jax
    from jax.sharding import AxisType

    from asym_jax.commands import load_preset
    from asym_jax.training.program import Program
    from asym_jax.training.sharding import DATA
    from asym_jax.training.silence import Silence
    from benchmarks.abstract_run import abstract_run, networks_of, with_settings

    preset = load_preset(name, Path(__file__).parents[1] / "configs")
    config = with_settings(preset, data={"batch_size": PER_DEVICE[name]})
    networks = networks_of(config)
    mesh = jax.make_mesh((1,), (DATA,), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
    frozen, state = abstract_run(config, networks, mesh)
    marks = [(time.perf_counter(), time.process_time())]
    lowered = Program(config, networks, mesh, Silence()).lower(frozen, state, critic_awake=awake)
    marks.append((time.perf_counter(), time.process_time()))
    compiled = lowered.compile()
    marks.append((time.perf_counter(), time.process_time()))
    (wall, processor), (wall_after, processor_after) = (
        [later - earlier for earlier, later in zip(before, after, strict=True)]
        for before, after in zip(marks, marks[1:], strict=False)
    )
    return {
        "lower_seconds": wall,
        "lower_processor_seconds": processor,
        "compile_seconds": wall_after,
        "compile_processor_seconds": processor_after,
        "stablehlo_operations": len(re.findall(r"= \"?(?:stablehlo|chlo)\.", lowered.as_text())),
        "hlo_instructions": len(re.findall(r"^\s+(?:ROOT )?%", compiled.as_text(), re.MULTILINE)),
        "device": jax.devices()[0].device_kind,
    }


def in_a_process(name: str, awake: bool, cache: str, settings: argparse.Namespace) -> dict[str, Any]:
    """`measure` in a fresh process whose persistent cache is the folder `cache`."""
    chosen = {"JAX_PLATFORMS": settings.platform, "ASYM_JAX_FILTERING": settings.filtering}
    environment = os.environ | chosen | {"JAX_COMPILATION_CACHE_DIR": cache}
    command = [sys.executable, "-m", "benchmarks.compile_time", "--one", name, "--awake", str(int(awake))]
    done = subprocess.run(command, env=environment, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def cold_and_warm(name: str, awake: bool, settings: argparse.Namespace) -> dict[str, Any]:
    """One row of the results."""
    with tempfile.TemporaryDirectory() as cache:
        cold, warm = (in_a_process(name, awake, cache, settings) for _ in range(2))
        kept = sum(path.stat().st_size for path in Path(cache).rglob("*") if path.is_file())
    assert warm["hlo_instructions"] == cold["hlo_instructions"]
    row = {"preset": name, "critic": awake, "filtering": settings.filtering, "batch": PER_DEVICE[name], "cache_bytes": kept}
    row |= {key: cold[key] for key in ("device", "stablehlo_operations", "hlo_instructions")}
    return row | {
        f"{kind}_{key}": found[key] for kind, found in (("cold", cold), ("warm", warm)) for key in found if "seconds" in key
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", choices=PER_DEVICE, default=list(PER_DEVICE))
    parser.add_argument("--platform", default="cpu", help="as JAX_PLATFORMS (default cpu)")
    parser.add_argument("--filtering", choices=("off", "small", "large"), default="off", help="as ASYM_JAX_FILTERING (default off)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--awake", type=int, help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.one:
        return print(json.dumps(measure(settings.one, bool(settings.awake))))
    rows = json.loads(RESULTS.read_text())["results"] if RESULTS.exists() else []
    for name in settings.presets:
        for awake in (False, True):
            row = cold_and_warm(name, awake, settings)
            what = ("preset", "critic", "filtering", "device")
            rows = [old for old in rows if any(old[key] != row[key] for key in what)] + [row]
            times = "  ".join(
                f"{kind}: {row[f'{kind}_lower_seconds']:.1f} + {row[f'{kind}_compile_seconds']:.1f} s" for kind in ("cold", "warm")
            )
            print(
                f"{name:8} {'with' if awake else 'without':7} critic  {times}  {row['hlo_instructions']} instructions", flush=True
            )
            record = {"machine": platform.platform(), "jax": version("jax"), "date": time.strftime("%F"), "cores": os.cpu_count()}
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps({**record, "results": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Time and peak memory of loading the 2x decoder (1.6 GB): this package against PyTorch diffusers, in turn.

    python -m benchmarks.load_weights [--rounds 3] [--folder DIR]

Every measurement is a process of its own, timed from after the imports until every parameter has been read once
(`from_pretrained` maps the file and reads nothing before that); the file is in the page cache for all of them, and
memory that a virtual machine had given back to its host was fetched again before.
Needs torch and diffusers, 4 GB of disk and 5 of memory.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "load_weights.json"

OURS = """
import jax, numpy
from asym_jax.weights import load_pretrained
jax.block_until_ready(jax.numpy.zeros(3))
begin = time.perf_counter()
params = jax.block_until_ready(load_pretrained(source)[1])
for leaf in jax.tree.leaves(params):
    numpy.asarray(leaf).sum()
"""
TORCH_LOAD = """
import torch
from diffusers.models import AsymmetricAutoencoderKL
begin = time.perf_counter()
if source.endswith("bin"):
    tensors = torch.load(source + "/diffusion_pytorch_model.bin", weights_only=True)
else:
    from safetensors.torch import load_file
    tensors = load_file(source + "/diffusion_pytorch_model.safetensors")
model = AsymmetricAutoencoderKL.from_config(AsymmetricAutoencoderKL.load_config(source))
model.load_state_dict(tensors)
for parameter in model.parameters():
    parameter.detach().sum()
"""
FROM_PRETRAINED = """
from diffusers.models import AsymmetricAutoencoderKL
begin = time.perf_counter()
model = AsymmetricAutoencoderKL.from_pretrained(source)
for parameter in model.parameters():
    parameter.detach().sum()
"""
PEERS = {"asym_jax": OURS, "torch.load + diffusers": TORCH_LOAD, "diffusers from_pretrained": FROM_PRETRAINED}

MEASURED = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
source = sys.argv[1]
{body}
seconds = time.perf_counter() - begin
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({{"seconds": seconds, "peak_bytes": int(peak) * 1024}}))
"""

FETCH_MEMORY = "import numpy; numpy.ones(2**29)"
"""4 GiB, more than any peer needs. The first touch takes seconds where a host lends memory page by page, and is nobody's doing."""

X2 = dict(
    down_block_types=("DownEncoderBlock2D",) * 4,
    down_block_out_channels=(128, 256, 512, 512),
    layers_per_down_block=2,
    up_block_types=("UpDecoderBlock2D",) * 4,
    up_block_out_channels=(256, 512, 1024, 1024),
    layers_per_up_block=5,
)


def make(folder: Path) -> None:
    """The published 2x decoder's files, with random numbers in them."""
    from diffusers.models import AsymmetricAutoencoderKL

    model = AsymmetricAutoencoderKL(**X2)
    model.save_pretrained(folder / "safetensors")
    model.save_pretrained(folder / "bin", safe_serialization=False)


def measure(body: str, source: Path) -> dict[str, float]:
    """Seconds and peak resident bytes (file pages included) of one load."""
    subprocess.run([sys.executable, "-c", FETCH_MEMORY], check=True)
    program = MEASURED.format(body=body)
    done = subprocess.run([sys.executable, "-c", program, str(source)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare(source: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Medians over `rounds`, the peers taking turns."""
    size = max(path.stat().st_size for path in source.iterdir())
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in PEERS}
    for _ in range(rounds + 1):
        for name, body in PEERS.items():
            samples[name].append(measure(body, source))
    table = {}
    for name, runs in samples.items():
        kept = runs[1:]  # the first brings the file into the page cache
        seconds = [run["seconds"] for run in kept]
        table[name] = {
            "seconds": statistics.median(seconds),
            "fastest": min(seconds),
            "slowest": max(seconds),
            "peak_over_size": max(run["peak_bytes"] for run in kept) / size,
        }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each peer (default 3)")
    parser.add_argument("--folder", type=Path, help="where the files are made and kept (default: temporary)")
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = settings.folder or Path(temporary)
        if not (folder / "bin").is_dir():
            make(folder)
        tables = {kind: compare(folder / kind, settings.rounds) for kind in ("safetensors", "bin")}
    packages = {name: version(name) for name in ("jax", "numpy", "safetensors", "torch", "diffusers")}
    machine = {"machine": platform.platform(), "python": platform.python_version(), "date": time.strftime("%F")}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({**machine, "packages": packages, "results": tables}, indent=2) + "\n")
    for kind, table in tables.items():
        ours = table["asym_jax"]["seconds"]
        for name, row in table.items():
            seconds, peak = row["seconds"], row["peak_over_size"]
            print(f"{kind:12} {name:28} {seconds:6.2f} s ({seconds / ours:.2f} of ours)  peak {peak:.2f} x file")


if __name__ == "__main__":
    main()

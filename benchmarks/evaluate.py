"""The networks behind the scores, beside the packages that made them known: torch-fidelity, lpips and transformers.

    python -m benchmarks.evaluate [--network inception lpips-vgg lpips-alex clip] [--batch 8] [--rounds 7] [--peers torch]

Random weights; float32, and on a GPU with all bits (no TF32) on both sides, because scores must not depend on the machine.
Inception begins with whole numbers and resizes them, LPIPS compares pairs. Measured as `benchmarks.decode` does it. Writes
benchmarks/results/evaluate-DEVICE.json.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import command
from benchmarks.measuring.agreement import Bound
from benchmarks.measuring.race import Contest
from benchmarks.peers.contest import Case

NAMES = ("inception", "lpips-vgg", "lpips-alex", "clip")
PEERS = command.torch_peers("torch-fidelity, lpips or transformers")
BOUNDS = {"float32": Bound(1e-4, 3e-4)}


def contests(settings: argparse.Namespace, names: list[str], folder: Path) -> Iterator[Contest]:
    """One for each network."""
    import jax

    from benchmarks.peers.metrics import NETWORKS, operations, write_network

    jax.config.update("jax_platforms", "cpu")  # this process only draws weights
    module = "benchmarks.peers"
    entrants = command.forward_entrants(
        f"{module}.metrics:ours", f"{module}.torch_metrics:torch_peer", names, settings.compile_mode
    )
    packages = ("torch-fidelity", "lpips", "transformers", "torchvision")
    for name in settings.network:
        write_network(folder, name)
        options = {"devices": settings.devices, "exact": True}
        case = Case("evaluate", name, NETWORKS[name].size, settings.batch, "float32", folder, **options)
        yield Contest(case, entrants, operations(folder, name), BOUNDS, packages)


def main() -> None:
    parser = command.parser(__doc__, PEERS)
    parser.add_argument("--network", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--batch", type=int, default=8, help="pictures or pairs at once (default 8)")
    parser.add_argument("--compile-mode", help="of torch.compile (default: max-autotune on a GPU, default on a CPU)")
    settings = parser.parse_args()
    names = command.wanted(settings.peers, PEERS)
    command.run(lambda folder: contests(settings, names, folder), settings)


if __name__ == "__main__":
    main()

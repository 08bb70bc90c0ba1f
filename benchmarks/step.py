"""One update of decoder and critic, beside the released procedure and the best one that we can write in PyTorch.

    python -m benchmarks.step [--model base large large2x] [--size 256] [--batch 1] [--dtype float32] [--rounds 7]
        [--peers reference fused fused_compiled]

Ours is the program that `train.py` runs, the critic awake and felt, and once more while it sleeps. Everyone updates both
networks with Adam, looks at LPIPS over VGG16 (random weights, nothing dropped out), and draws noise; ours draws masks too, and
also finds the norms that training logs. Before anything is timed, the losses, the adaptive weight and gradients of both networks
are compared with PyTorch's in float32, for the same noise and masks. Writes benchmarks/results/step-DEVICE.json.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import command
from benchmarks.measuring.agreement import Bound
from benchmarks.measuring.operations import step
from benchmarks.measuring.race import OURS, Contest, Entrant
from benchmarks.peers.contest import Case

ASLEEP = "ours asleep"
PEERS = {
    ASLEEP: "ours while the critic sleeps, as in the first 50,001 updates",
    "reference": "the released procedure: float32 (TF32 on a GPU), channels first",
    "reference autocast": "* the same in bfloat16 by autocast, channels last; with --dtype bfloat16 only",
    "fused": "one forward and one backward, channels last, fused Adam; autocast with --dtype bfloat16",
    "fused compiled": "* the same through torch.compile (compiles for minutes)",
}
BOUNDS = {"float32": Bound(1e-3, 3e-3), "tf32": Bound(2e-2, 0.1), "bfloat16": Bound(0.1, 0.5)}


def entrants(case: Case, names: list[str], compile_mode: str, operations: dict[str, float]) -> list[Entrant]:
    """Ours first. In bfloat16 both peers that are marked in `PEERS` take part if no names were given."""
    build = "benchmarks.peers.torch_step"
    everyone = [
        Entrant(ASLEEP, "benchmarks.peers.step:ours", (False,), torch=False, operations=operations["asleep"]),
        Entrant("reference", f"{build}:reference", (False,), operations=operations["reference"]),
        Entrant("reference autocast", f"{build}:reference", (True,), operations=operations["reference"]),
        Entrant("fused", f"{build}:fused", (None,)),
        Entrant("fused compiled", f"{build}:fused", (compile_mode,)),
    ]
    return [Entrant(OURS, "benchmarks.peers.step:ours", (True,), torch=False), *(one for one in everyone if one.name in names)]


def contests(settings: argparse.Namespace, names: list[str], folder: Path) -> Iterator[Contest]:
    """One for each model and size."""
    import jax

    from benchmarks.peers.material import critic_of, shape_of, write_autoencoder, write_losses

    jax.config.update("jax_platforms", "cpu")  # this process only draws weights
    for model in settings.model:
        write_autoencoder(folder, model)
        write_losses(folder, model)
        for size in settings.size:
            options = {"devices": settings.devices, "exact": settings.exact}
            case = Case("step", model, size, settings.batch, settings.dtype, folder, **options)
            critic = critic_of(model)
            operations = step(shape_of(model), size, critic.channels, critic.layers)._asdict()
            yield Contest(case, entrants(case, names, settings.compile_mode, operations), operations["fused"], BOUNDS)


def main() -> None:
    parser = command.parser(__doc__, PEERS)
    parser.add_argument("--model", nargs="+", default=["base"], choices=("base", "large", "large2x", "tiny"))
    parser.add_argument("--size", nargs="+", type=int, default=[256], help="sides of the pictures in pixels (default 256)")
    parser.add_argument("--batch", type=int, default=1, help="pictures at once (default 1)")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--compile-mode", default="default", help="of torch.compile (default: default)")
    settings = parser.parse_args()
    names = command.wanted(settings.peers, PEERS)
    if settings.peers is None and settings.dtype == "bfloat16":
        names = list(PEERS)
    command.run(lambda folder: contests(settings, names, folder), settings)


if __name__ == "__main__":
    main()

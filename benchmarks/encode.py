"""Encoding pictures to latents, beside diffusers in PyTorch: the frozen half of the autoencoder, the same for all decoders.

    python -m benchmarks.encode [--size 256 512] [--batch 1] [--dtype float32] [--rounds 7] [--peers torch torch_channels_last]

Measured as `benchmarks.decode` does it. Writes benchmarks/results/encode-DEVICE.json.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import command
from benchmarks.measuring.agreement import Bound
from benchmarks.measuring.operations import encoder
from benchmarks.measuring.race import Contest
from benchmarks.peers.contest import Case

PEERS = command.torch_peers("diffusers' AsymmetricAutoencoderKL")
BOUNDS = {"float32": Bound(3e-5, 1e-4), "tf32": Bound(5e-3, 2e-2), "bfloat16": Bound(3e-2, 0.15)}


def contests(settings: argparse.Namespace, names: list[str], folder: Path) -> Iterator[Contest]:
    """One for each size."""
    import jax

    from benchmarks.peers.material import shape_of, write_autoencoder

    jax.config.update("jax_platforms", "cpu")  # this process only draws weights
    write_autoencoder(folder, settings.model)
    entrants = command.forward_entrants(
        "benchmarks.peers.encode:ours", "benchmarks.peers.encode:torch", names, settings.compile_mode
    )
    for size in settings.size:
        options = {"devices": settings.devices, "exact": settings.exact}
        case = Case("encode", settings.model, size, settings.batch, settings.dtype, folder, **options)
        yield Contest(case, entrants, encoder(shape_of(settings.model), size), BOUNDS)


def main() -> None:
    parser = command.parser(__doc__, PEERS)
    parser.add_argument("--model", default="base", choices=("base", "tiny"), help="tiny is for tests (default base)")
    command.add_forward_options(parser, size=256)
    settings = parser.parse_args()
    names = command.wanted(settings.peers, PEERS)
    command.run(lambda folder: contests(settings, names, folder), settings)


if __name__ == "__main__":
    main()

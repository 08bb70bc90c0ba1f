"""Decoding latents to pictures, beside diffusers in PyTorch and in Flax.

    python -m benchmarks.decode [--model base large large2x] [--size 256 512 1024] [--batch 1] [--dtype float32]
        [--no-mask] [--samples N] [--rounds 7] [--peers torch torch_channels_last]

Random weights of sane size, the same for all. Before anything is timed, results are compared with PyTorch's in float32.
Everyone runs in a process of its own; they take turns in a new order each round, and on a CPU each turn waits a few seconds
for the machine to be idle. Writes benchmarks/results/decode-DEVICE.json.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import command
from benchmarks.measuring.agreement import Bound
from benchmarks.measuring.operations import condition_encoder, decoder
from benchmarks.measuring.race import Contest, Entrant
from benchmarks.peers.contest import Case

PEERS = command.torch_peers("diffusers' AsymmetricAutoencoderKL") | {
    "diffusers flax": "FlaxAutoencoderKL; base without a mask only"
}
BOUNDS = {"float32": Bound(3e-5, 1e-4), "tf32": Bound(5e-3, 2e-2), "bfloat16": Bound(3e-2, 0.15)}


def entrants(case: Case, names: list[str], compile_mode: str | None) -> list[Entrant]:
    """Ours first."""
    module = "benchmarks.peers.decode"
    found = command.forward_entrants(f"{module}:ours", f"{module}:torch", names, compile_mode)
    if not case.mask and case.model in ("base", "tiny") and "diffusers flax" in names:
        found.append(Entrant("diffusers flax", f"{module}:flax", torch=False))
    return found


def contests(settings: argparse.Namespace, names: list[str], folder: Path) -> Iterator[Contest]:
    """One for each model and size."""
    import jax

    from benchmarks.peers.material import shape_of, write_autoencoder

    jax.config.update("jax_platforms", "cpu")  # this process only draws weights
    for model in settings.model:
        write_autoencoder(folder, model)
        for size in settings.size:
            case = Case(
                "decode",
                model,
                size,
                settings.batch,
                settings.dtype,
                folder,
                mask=settings.mask,
                samples=settings.samples,
                devices=settings.devices,
                exact=settings.exact,
            )
            shape = shape_of(model)
            # The condition encoder of all samples, although ours may run it once: who does less is faster.
            operations = decoder(shape, size, mask=False) + (condition_encoder(shape, size) if case.mask else 0)
            yield Contest(case, entrants(case, names, settings.compile_mode), operations, BOUNDS)


def main() -> None:
    parser = command.parser(__doc__, PEERS)
    parser.add_argument("--model", nargs="+", default=["base"], choices=("base", "large", "large2x", "tiny"))
    command.add_forward_options(parser, size=256)
    parser.add_argument("--samples", type=int, default=0, metavar="N", help="N latents of one picture and mask instead of a batch")
    parser.add_argument("--no-mask", dest="mask", action="store_false", help="as for text to image: without condition")
    settings = parser.parse_args()
    if settings.samples and not settings.mask:
        parser.error("--samples share a picture and a mask; without a mask use --batch")
    names = command.wanted(settings.peers, PEERS)
    command.run(lambda folder: contests(settings, names, folder), settings)


if __name__ == "__main__":
    main()

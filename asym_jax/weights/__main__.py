"""Looks at, converts, fetches and checks weights: `python -m asym_jax.weights --help`."""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from asym_jax.commands import report_errors

FORMATTER = argparse.RawDescriptionHelpFormatter

OVERVIEW = """Looks at, converts, fetches and checks the weights of autoencoders.

    python -m asym_jax.weights inspect runs/demo/decoder
    python -m asym_jax.weights convert larger1.5.ckpt larger1.5 --to diffusers
    python -m asym_jax.weights fetch vgg16 lpips-vgg
    python -m asym_jax.weights verify

PyTorch is not needed, and nothing in a file is ever run."""

SOURCE = """what to read: a folder that training, PyTorch diffusers or Flax diffusers wrote; a file (.safetensors,
.bin, .ckpt, .pth, .msgpack); OWNER/NAME[/SUBFOLDER or /FILE][@REVISION] on the Hugging Face hub; a URL such as
gs://BUCKET/FOLDER; or `asset`, the small autoencoder that comes with this package"""

INSPECT = """Prints what a file or folder is: kind of file, architecture, parameters, what would be left out.

    python -m asym_jax.weights inspect stable-diffusion-v1-5/stable-diffusion-v1-5/vae
    python -m asym_jax.weights inspect larger2.ckpt --values"""

CONVERT = """Writes an autoencoder in another form; numbers keep their exact bits unless --dtype changes their type.

    python -m asym_jax.weights convert larger1.5.ckpt larger1.5 --to diffusers
    python -m asym_jax.weights convert stabilityai/sd-vae-ft-mse sd_vae_flax --to flax --dtype bfloat16
    python -m asym_jax.weights convert runs/large/decoder large.safetensors --to official

A target that was written here before is replaced in one instant; one that holds anything else is left alone.
A model card (README.md) that you wrote yourself is kept."""

FETCH = """Fetches published weights into $ASYM_JAX_WEIGHTS (default ~/.cache/asym_jax): the networks that measure
pictures (LPIPS, FID, CLIP), Stable Diffusion's autoencoders and the asymmetric ones.

    python -m asym_jax.weights fetch --list
    python -m asym_jax.weights fetch vgg16 lpips-vgg

An interrupted download goes on where it stopped. Every file is checked against its SHA-256, where one is known."""

VERIFY = """Checks the files in $ASYM_JAX_WEIGHTS (default ~/.cache/asym_jax) against their SHA-256.

Exit status 1 if one is not what it should be."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser("python -m asym_jax.weights", description=OVERVIEW, formatter_class=FORMATTER, allow_abbrev=False)
    commands = top.add_subparsers(dest="command", required=True, metavar="{inspect,convert,fetch,verify}")

    def command(name: str, description: str, short: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, description=description, help=short, formatter_class=FORMATTER, allow_abbrev=False)

    inspect = command("inspect", INSPECT, "say what a file or folder is")
    _add_source(inspect)
    inspect.add_argument("--values", action="store_true", help="read all numbers too: the largest, and whether all are finite")
    inspect.add_argument("--tensors", action="store_true", help="list every tensor with shape and type")

    convert = command("convert", CONVERT, "write in another form")
    _add_source(convert)
    convert.add_argument(
        "target", metavar="TARGET", help="folder to write, on this machine; with --to official a file that ends in .safetensors"
    )
    convert.add_argument(
        "--to",
        required=True,
        choices=("diffusers", "flax", "official"),
        help="diffusers: folder with config.json and safetensors, for PyTorch; flax: folder with config.json and msgpack, "
        "for asym_jax.pipelines (diffusers' own Flax classes read a plain AutoencoderKL only); official: one "
        "file under the names of the reference implementation and latent diffusion",
    )
    convert.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        help="type of the numbers in the new file (default: as they are in SOURCE)",
    )
    convert.add_argument(
        "--scaling-factor",
        type=_factor,
        metavar="X",
        help="what pipelines multiply latents with, where SOURCE does not say it or is wrong (SD 1 and 2: 0.18215, SDXL: 0.13025)",
    )

    fetch = command("fetch", FETCH, "get published weights")
    fetch.add_argument("names", nargs="*", metavar="NAME", help="what to fetch; --list shows all")
    fetch.add_argument("--list", action="store_true", help="show what there is, and what is already here")
    fetch.add_argument("--folder", type=Path, metavar="DIR", help="another folder than $ASYM_JAX_WEIGHTS")
    fetch.add_argument("--force", action="store_true", help="replace files that are here but wrong")

    verify = command("verify", VERIFY, "check what was fetched")
    verify.add_argument("--folder", type=Path, metavar="DIR", help="another folder than $ASYM_JAX_WEIGHTS")
    return top


def _factor(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def _add_source(command: argparse.ArgumentParser) -> None:
    command.add_argument("source", metavar="SOURCE", help=SOURCE)
    command.add_argument("--revision", metavar="NAME", help="branch, tag or commit on the hub")
    command.add_argument("--subfolder", metavar="NAME", help="folder within SOURCE")


def main(arguments: Sequence[str]) -> int:
    """Runs one command; the exit status."""
    top = parser()
    given = top.parse_args(arguments)
    if given.command == "inspect":
        from asym_jax.weights.inspection import inspect  # only now: --help should not wait for JAX

        print(inspect(given.source, revision=given.revision, subfolder=given.subfolder, values=given.values, names=given.tensors))
    elif given.command == "convert":
        from asym_jax.weights.conversion import convert

        convert(
            given.source,
            given.target,
            layout=given.to,
            dtype=given.dtype,
            scaling_factor=given.scaling_factor,
            revision=given.revision,
            subfolder=given.subfolder,
        )
        print(f"wrote {given.target}")
    elif given.command == "fetch":
        from asym_jax.weights.fetching.fetch_command import fetch_command, list_command

        if given.list == bool(given.names):
            top.error("fetch needs names, or --list to see them")
        list_command(given.folder) if given.list else fetch_command(given.names, given.folder, given.force)
    else:
        from asym_jax.weights.fetching.fetch_command import verify_command

        return 0 if verify_command(given.folder) else 1
    return 0


if __name__ == "__main__":
    with report_errors("nothing half-written was left; a download goes on where it stopped"):
        try:
            status = main(sys.argv[1:])
            sys.stdout.flush()
        except BrokenPipeError:  # `... --tensors | head`: nobody reads on, and nobody wants to be told
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 0
        sys.exit(status)

"""The command line of `eval.py`."""

import argparse
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from asym_jax.commands import positive, seed
from asym_jax.evaluation.tables import TABLES

TASKS = ("reconstruct", "inpaint", "paint-by-example", "text-to-image")
DIFFUSION = ("pipeline", "steps", "guidance", "eta", "scheduler", "prompt")
"""Options of the diffusion model, all None unless given."""

FID_MODES = ("legacy_pytorch", "tf", "clean")


class EvalCommand(NamedTuple):
    """What `eval.py` was asked to do; None leaves the choice to the task."""

    task: str
    table: int | None
    runs: list[Path]
    weights: list[str]
    vae: str | None
    pipeline: str | None
    images: str
    masks: str | None
    out: Path
    fresh: bool
    limit: int | None
    image_size: int | None
    rows_per_device: int
    sheet_rows: int
    quantise: str
    fid: str | None
    seed: int
    steps: int | None
    guidance: float | None
    eta: float | None
    scheduler: str | None
    prompt: str | None


def parse_eval(arguments: Sequence[str], description: str) -> EvalCommand:
    """Reads the command line of `eval.py`.

    Raises:
        SystemExit: status 2 after a message on bad usage, 0 after `--help`.
    """
    parser = argparse.ArgumentParser(
        prog="eval.py", description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    _add_subjects(parser)
    _add_data(parser)
    _add_diffusion(parser)
    values = vars(parser.parse_args(arguments))
    table = values["table"] and TABLES[values["table"]]
    if not (values["runs"] or values["weights"]):
        parser.error("nothing to evaluate: give --run or --weights, as often as there are decoders")
    if table and values["task"] not in (None, table.task):
        parser.error(f"--table {values['table']} is of the task {table.task}, not {values['task']}")
    if not (table or values["task"]):
        parser.error("--task or --table is missing")
    values["task"] = table.task if table else values["task"]
    if values["task"] != "reconstruct" and not values["pipeline"]:
        parser.error(f"--task {values['task']} needs --pipeline: the diffusion model whose latents are decoded")
    if problem := _without_effect(values):
        parser.error(problem)
    if not (values["runs"] or values["vae"] or values["pipeline"]):
        parser.error("--weights needs --vae: the plain autoencoder whose decoder it is compared with")
    first = values["runs"][0] if values["runs"] else Path(values["weights"][0])
    # All tables of one task on one set share a folder, and with it the pictures.
    parts = [first.resolve().name, values["task"], *["ablation"] * bool(table and table.ablation), *[set_of(values["images"])]]
    values["out"] = values["out"] or Path("results") / "-".join(part for part in parts if part)
    return EvalCommand(**values)


def set_of(images: str) -> str:
    """The name of the data set in `SET:DIR`; empty for a folder or a list."""
    kind, colon, _ = images.partition(":")
    return kind if colon and kind != "folder" and kind.replace("-", "").isalnum() else ""


def _without_effect(values: Mapping[str, Any]) -> str | None:
    """What was given although the task makes nothing of it, as a message; None if there is nothing."""
    task, given = values["task"], [f"--{name}" for name in DIFFUSION if values[name] is not None]
    if task == "reconstruct" and given:
        return f"--task reconstruct encodes and decodes, without a diffusion model: leave out {', '.join(given)}"
    if task != "inpaint" and "--prompt" in given:
        return f"--prompt is what inpainting is told: leave it out of --task {task}"
    if task == "text-to-image" and values["masks"]:
        return "--task text-to-image draws whole pictures: leave out --masks"
    scheduler = values["scheduler"] or ("ddim" if task == "inpaint" else "plms")
    if values["eta"] and scheduler != "ddim":
        noise = f"--eta {values['eta']:g} is noise that DDIM adds"
        return f"{noise}, and this is --scheduler {scheduler}: leave out --eta, or give --scheduler ddim"
    return None


def _share(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, not {text!r}")


def _add_subjects(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is evaluated")
    group.add_argument("--task", choices=TASKS)
    numbers = "; ".join(f"{number}: {table.title}" for number, table in TABLES.items()).replace("%", "%%")
    group.add_argument(
        "--table", type=int, choices=TABLES, help=f"a table of the paper, with the published rows beside ours ({numbers})"
    )
    group.add_argument(
        "--run", dest="runs", type=Path, action="append", default=[], metavar="DIR", help="folder of a finished training run"
    )
    group.add_argument(
        "--weights", action="append", default=[], metavar="DIR|FILE|HUB_ID", help="an asymmetric autoencoder; may be repeated"
    )
    group.add_argument(
        "--vae",
        metavar="DIR|HUB_ID",
        help="the plain autoencoder to compare with (default: that of --pipeline, or else that of the run)",
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("on what, and where to")
    group.add_argument(
        "--images",
        required=True,
        metavar="DIR|LIST.txt|SET:DIR",
        help="pictures: a folder, a file with one path per line, or a data set in its published layout: imagenet:DIR "
        "(imagenet:DIR#3 for three of each class), places365:DIR, places365:tfds:NAME_OR_DIR[/SPLIT], cocoee:DIR, "
        "coco-karpathy:DIR[#SPLIT], coco-captions:DIR[#SPLIT], pairs:DIR (with NAME_mask.png)",
    )
    group.add_argument(
        "--masks",
        metavar="DIR|RECIPE",
        help="a folder of masks with the pictures' names, white = hole; or a recipe: thin, medium or thick with _256 or _512, or "
        "boxes, holes of any area, and the same with _limited, of at most half of the picture, as LaMa and the paper have them; "
        "or full (default: the set's own; else thick_512, below 512 pixels thick_256, and to inpaint the same with _limited)",
    )
    group.add_argument("--out", type=Path, metavar="DIR", help="where everything goes (default results/NAME-TASK)")
    group.add_argument("--fresh", action="store_true", help="delete what an earlier evaluation wrote there, and start over")
    group.add_argument("--limit", type=positive, metavar="N", help="only the first N examples")
    group.add_argument(
        "--seed",
        type=seed,
        default=0,
        metavar="N",
        help="of the pictures that imagenet:DIR#3 takes, and of the starting noise of diffusion (default 0)",
    )
    group.add_argument(
        "--image-size", type=positive, metavar="N", help="side of the pictures (default: as trained; 512 with --pipeline)"
    )
    group.add_argument(
        "--rows-per-device", type=positive, default=4, metavar="N", help="pictures at a time on each device (default 4)"
    )
    group.add_argument("--sheet-rows", type=positive, default=24, metavar="N", help="pictures shown in the report (default 24)")
    group.add_argument(
        "--quantise", choices=("round", "floor"), default="round", help="how pictures become 8-bit files (default round)"
    )
    group.add_argument(
        "--fid", choices=FID_MODES, help="which FID (default legacy_pytorch, as for inpainting in the paper; text-to-image: tf)"
    )


def _add_diffusion(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("diffusion", "for the tasks with a --pipeline; the defaults are the paper's")
    group.add_argument("--pipeline", metavar="DIR|HUB_ID", help="folder of a Stable Diffusion pipeline")
    group.add_argument("--steps", type=positive, metavar="N", help="denoising steps (default 50)")
    group.add_argument("--guidance", type=float, metavar="X", help="classifier-free guidance (default 7.5; by example 5)")
    group.add_argument(
        "--eta", type=_share, metavar="X", help="noise that DDIM adds in every step, 0 to 1 (default: inpaint 1, else 0)"
    )
    group.add_argument("--scheduler", choices=("ddim", "plms"), help="default: inpaint ddim, else plms")
    group.add_argument("--prompt", metavar="TEXT", help="what inpainting is told (default: the paper's)")

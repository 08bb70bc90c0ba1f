"""Draws the masks of an evaluation set, once, as PNG files (white = hole), the way LaMa makes its own.

    python -m tools.make_masks OUT --images DIR|LIST.txt|SET:DIR [--recipe thick_512] [--size PIXELS] [--seed N]
    python -m tools.make_masks OUT --count N ...

One mask for each picture, under the picture's name; with --count they are called 000000.png, 000001.png, ...
Five are drawn for each, those with more than half of the area are rejected, and one of the others is kept. A picture whose
five are all rejected gets no mask and is counted (--when-rejected smallest gives it the smallest).

The same command again goes on where it was stopped, to the same bytes. manifest.json comes last to completion: recipe, seed,
versions, the area of every hole, and the pictures without a mask.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from asym_jax.commands import report_errors
from asym_jax.data.evaluation_sets.named import open_evaluation_set
from asym_jax.data.mask_sets import MASK_RECIPES, MaskPlan, plan_masks, read_manifest, write_masks


def main(arguments: Sequence[str]) -> int:
    """Writes the set; the exit status is 0, also if pictures were left without a mask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--images", metavar="DIR|LIST.txt|SET:DIR", help="pictures that need masks, as in eval.py")
    which.add_argument("--count", type=_positive, metavar="N", help="this many masks, by number")
    parser.add_argument("--recipe", default="thick_512", choices=MASK_RECIPES, metavar="NAME", help=", ".join(MASK_RECIPES))
    parser.add_argument("--size", type=_positive, metavar="PIXELS", help="side of the masks (default: the recipe's)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, other masks (default 0)")
    parser.add_argument("--variants", type=_positive, default=5, metavar="N", help="masks drawn per picture (default 5)")
    parser.add_argument("--max-area", type=float, default=0.5, metavar="SHARE", help="largest hole (default 0.5)")
    parser.add_argument("--when-rejected", default="skip", choices=("skip", "smallest"), help="if all are larger (default skip)")
    given = vars(parser.parse_args(arguments))
    out, images, count = (given.pop(name) for name in ("out", "images", "count"))
    with report_errors("the same command goes on where it was"):
        names = mask_names(images, given["seed"]) if images else [f"{i:06}" for i in range(count)]
        make(out, names, plan_masks(names, **given))
    return 0


def mask_names(images: str, seed: int) -> list[str]:
    """Names of the pictures as an evaluation knows them; `seed` is that of `imagenet:DIR#3`."""
    examples = open_evaluation_set(images, size=512, seed=seed)  # the size of pictures that nobody looks at
    return [examples.name(i) for i in range(len(examples))]


def make(out: Path, names: Sequence[str], plan: MaskPlan) -> None:
    """Writes what is missing and says what came of it."""
    with Progress() as progress:
        task = progress.add_task(plan.recipe, total=plan.count)
        for done in write_masks(out, names, plan):
            progress.update(task, completed=done)
    manifest = read_manifest(out)
    area = "" if manifest["mean_area"] is None else f", mean area {manifest['mean_area']:.3f}"
    print(f"{out}: {manifest['masks']} masks of {plan.size} pixels{area}")
    if rejected := manifest["rejected"]:
        share = f"all {plan.variants} variants cover more than {plan.max_area:.0%}"
        print(f"{len(rejected)} pictures have no mask, because {share}: {', '.join(rejected[:5])}", file=sys.stderr)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The model card beside saved weights: what they are, what they were trained on, and how they measured."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import jax

from asym_jax.arrays import Params
from asym_jax.weights.architecture import Autoencoder

CARD = "README.md"

SIGNATURE = "Written by asym_jax."
"""How a card that may be replaced ends; remove the line to keep a card that was edited."""

ORIGIN, MEASURED = "## Origin", "## Measured"

SETTINGS = {
    "converted_from": "converted from",
    "base": "frozen autoencoder",
    "init": "decoder started from",
    "data": "pictures",
    "steps": "steps",
    "batch_size": "pictures per step",
    "image_size": "crop side in pixels",
}
"""What the table under `ORIGIN` calls the fields of a `Card`."""

NUMBERS = ("steps", "batch_size", "image_size")

PLAIN = "plain_"
"""Beginning of the names of metrics of the plain autoencoder's own decoder."""

DECODER = """Stable Diffusion's autoencoder with a mask-conditioned decoder
([arXiv 2306.04632](https://arxiv.org/abs/2306.04632)): given the picture and a mask (1 = regenerate, 0 = keep), it restores
the kept pixels instead of decoding them from the latent alone."""

SYMMETRIC = "A plain autoencoder: encoder and decoder of the same widths, without a mask."


class Card(NamedTuple):
    """What is known of a training; None where it is not."""

    base: str | None = None  # the frozen autoencoder
    init: str | None = None  # what the decoder started from
    data: str | None = None
    steps: int | None = None
    batch_size: int | None = None  # pictures per step
    image_size: int | None = None  # pixels
    metrics: Mapping[str, float] = MappingProxyType({})
    measured_on: str | None = None
    converted_from: str | None = None


def write_card(path: Path, model: Autoencoder, card: Card, *, params: Params) -> None:
    """Writes what `card_text` gives."""
    path.write_text(card_text(model, card, params=params), encoding="utf-8")


def card_text(model: Autoencoder, card: Card, *, params: Params) -> str:
    """The card as Markdown with the header that the Hugging Face hub reads; `params` may be shapes only."""
    conditional = type(model).__name__.startswith("Asymmetric")
    lines = [
        "---",
        _header(card, conditional).strip(),
        "---",
        "",
        f"# {type(model).__name__}",
        "",
        DECODER if conditional else SYMMETRIC,
        "",
        *_table(("part", "parameters"), [(part, f"{_count(tree):,}") for part, tree in params.items()]),
        *_training(card),
        *_use(conditional),
        SIGNATURE,
        "",
    ]
    return "\n".join(lines)


def is_ours(path: Path) -> bool:
    """Whether the card at `path` was written by this module and not edited since by somebody who wants to keep it."""
    return signed(path.read_text(encoding="utf-8", errors="replace"))


def signed(text: str) -> bool:
    """The same of a card's text."""
    return text.rstrip().endswith(SIGNATURE)


def _header(card: Card, conditional: bool) -> str:
    from huggingface_hub import ModelCardData  # here, because it is slow to import

    tags = ["image-to-image", "autoencoder", *(["inpainting", "asymmetric-vqgan"] if conditional else [])]
    return ModelCardData(library_name="diffusers", tags=tags).to_yaml()


def _training(card: Card) -> list[str]:
    facts = {words: getattr(card, field) for field, words in SETTINGS.items()}
    known = [(words, f"{fact:,}" if isinstance(fact, int) else fact) for words, fact in facts.items() if fact is not None]
    lines = [ORIGIN, "", *_table(("setting", "value"), known)] if known else []
    if card.metrics:
        where = [f"On {card.measured_on}.", ""] if card.measured_on else []
        lines += [MEASURED, "", *where, *_measured(card.metrics)]
    return lines


def _measured(metrics: Mapping[str, float]) -> list[str]:
    """One row per metric; where the plain decoder was measured too, its value stands beside ours."""
    ours = {name: f"{value:.6g}" for name, value in metrics.items() if not name.startswith(PLAIN)}
    plain = {name.removeprefix(PLAIN): f"{value:.6g}" for name, value in metrics.items() if name.startswith(PLAIN)}
    if not plain:
        return _table(("metric", "value"), ours.items())
    return _table(("metric", "this decoder", "plain decoder"), [(name, value, plain.get(name, "")) for name, value in ours.items()])


def _use(conditional: bool) -> list[str]:
    condition = ", image=images, mask=mask" if conditional else ""
    return [
        "## Use",
        "",
        "```python",
        "from asym_jax.weights import load_pretrained",
        "",
        'model, params = load_pretrained("THIS FOLDER")',
        'latents = model.apply({"params": params}, images, method="encode").mean  # images (B, H, W, 3) in [-1, 1]',
        f'decoded = model.apply({{"params": params}}, latents{condition}, method="decode")',
        "```",
        "",
    ]


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in (header, *rows)]
    return [lines[0], "|---" * len(header) + "|", *lines[1:], ""]


def _cell(text: str) -> str:
    """Paths and names may hold what would end the cell or the row."""
    return " ".join(text.split()).replace("|", "\\|")


def _count(tree: Params) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))

"""From any form of an autoencoder to any other."""

from pathlib import Path

from jax.typing import DTypeLike

from asym_jax.weights.card import CARD, Card
from asym_jax.weights.card_reader import read_card
from asym_jax.weights.folders import on_this_machine
from asym_jax.weights.layouts import Layout, write_autoencoder
from asym_jax.weights.opened import CARD_ENTRY, Opened, open_autoencoder
from asym_jax.weights.sources.file_names import belongs


def convert(
    source: str,
    target: str | Path,
    *,
    layout: Layout,
    dtype: DTypeLike | None = None,
    scaling_factor: float | None = None,
    revision: str | None = None,
    subfolder: str | None = None,
) -> None:
    """Writes the autoencoder that `load_pretrained(source)` would read to `target`, bit by bit unless `dtype` is given.

    What a model card of ours says of the source goes along.

    Args:
        scaling_factor: takes the place of what the source says or lacks.

    Raises:
        InputError: as `load_pretrained` and `save_pretrained` do.
    """
    place = on_this_machine(target)  # before anything is fetched
    opened = open_autoencoder(source, revision=revision, subfolder=subfolder)
    model = opened.model if scaling_factor is None else opened.model.clone(scaling_factor=scaling_factor)
    card = _card(opened)._replace(converted_from=f"{source}{f'@{revision}' if revision else ''}")
    write_autoencoder(place, model, opened.tensors, layout=layout, dtype=dtype, card=card)


def _card(opened: Opened) -> Card:
    """What was known of the source: from the card in the file, or the one beside it."""
    beside = opened.path.with_name(CARD)
    if CARD_ENTRY in opened.metadata or not belongs(opened.path.name, asked_for=True):
        return read_card(opened.metadata.get(CARD_ENTRY, ""))
    return read_card(beside.read_text(encoding="utf-8", errors="replace")) if beside.is_file() else Card()

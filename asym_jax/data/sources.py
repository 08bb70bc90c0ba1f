"""Where pictures come from: what every source can do, and the grammar that names one in a configuration."""

import re
from fractions import Fraction
from pathlib import Path

from asym_jax.data.array_records import open_array_records
from asym_jax.data.folder import FolderSource
from asym_jax.data.hub_datasets import open_hub_dataset
from asym_jax.data.mixture import Mixture
from asym_jax.data.parquet import open_parquet
from asym_jax.data.pictures import list_pictures
from asym_jax.data.prepared import open_prepared
from asym_jax.data.source import Source, part_of
from asym_jax.data.synthetic import SyntheticSource
from asym_jax.errors import InputError

GRAMMAR = (
    "synthetic, folder:DIR, folder:LIST.txt, array_record:PATH, tfds:NAME_OR_DIR[/SPLIT], parquet:PATH[#COLUMN], "
    "huggingface:NAME_OR_DIR[#SPLIT], or mix:WEIGHT*SOURCE+WEIGHT*SOURCE"
)


_NEXT_TERM = re.compile(r"\+(?=[\d.]+\*)")
_TERM = re.compile(r"([\d.]+)\*(.+)", re.DOTALL)


def open_source(spec: str) -> Source:
    """The source that a configuration names.

    * `synthetic`: drawn pictures;
    * `folder:DIR` or `folder:LIST.txt`: files, see `list_pictures`;
    * `array_record:DIR`, a file or a pattern: what `tools/pack_array_record.py` writes, see `open_array_records`;
    * `tfds:NAME_OR_DIR[/SPLIT]`: see `open_prepared`;
    * `parquet:PATH[#COLUMN]`: see `open_parquet`;
    * `huggingface:NAME_OR_DIR[#SPLIT]`: see `open_hub_dataset`; the split is `train` unless given;
    * `mix:0.7*folder:A+0.3*folder:B`: see `Mixture`.

    Raises:
        InputError: `spec` has another form, or there are no pictures.
    """
    kind, _, place = spec.partition(":")
    if spec == "synthetic":
        return SyntheticSource()
    if kind == "folder" and place:
        return FolderSource(list_pictures(_expanded(spec, place)))
    if kind == "array_record" and place:
        return open_array_records(str(_expanded(spec, place)))
    if kind == "tfds" and place:
        return open_prepared(place)
    if kind == "parquet" and place:
        path, _, column = place.partition("#")
        return open_parquet(str(_expanded(spec, path)), column)
    if kind == "huggingface" and place:
        name, _, part = place.partition("#")
        return open_hub_dataset(name, part or "train")
    if kind == "mix" and place:
        return _open_mixture(spec, place)
    raise InputError(f"unknown data source {spec!r}: expected {GRAMMAR}")


def split(source: Source, held_out: int) -> tuple[Source, Source]:
    """All but the last `held_out` entries, to train on, and those last ones.

    Unreadable pictures are replaced from their own part and reported there, so that no held-out picture is ever
    trained on. From a mixture each component gives its share, from its end (`Mixture.split`).

    Raises:
        InputError: nothing would be left to train on.
    """
    if isinstance(source, Mixture):
        return source.split(held_out)
    border = len(source) - held_out
    if border <= 0:
        raise InputError(f"holding out {held_out} of {len(source)} pictures leaves none to train on: lower data.held_out")
    return part_of(source, 0, border), part_of(source, border, len(source))


def _expanded(spec: str, place: str) -> Path:
    try:
        return Path(place).expanduser().absolute()
    except RuntimeError as error:  # ~somebody without a home
        raise InputError(f"data source {spec!r}: {error}") from error


def _open_mixture(spec: str, terms: str) -> Mixture:
    components, weights = [], []
    for term in _NEXT_TERM.split(terms):
        parsed = _TERM.fullmatch(term)
        try:
            weight, source = Fraction(parsed[1]), parsed[2]
        except (TypeError, ValueError) as error:  # no WEIGHT*, or one like 1.2.3
            raise InputError(f"data source {spec!r}: {term!r} is not WEIGHT*SOURCE, as in mix:0.7*folder:A+0.3*folder:B") from error
        weights.append(weight)
        components.append(open_source(source))
    return Mixture(components, weights)

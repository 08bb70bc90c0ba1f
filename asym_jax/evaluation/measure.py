"""The second half of an evaluation: what there is to say of each picture, gathered by its number."""

import functools
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from asym_jax.arrays import Params
from asym_jax.errors import InputError
from asym_jax.evaluation.generate import Examples
from asym_jax.evaluation.judges import Judges
from asym_jax.evaluation.spread import Spread, read_ahead
from asym_jax.evaluation.workbook import MASK, ORIGINAL, SCORES, Workbook, file_name
from asym_jax.metrics.clip_score import box_of, clip_score, embedded, reference_inputs, reference_pixels, region_inputs
from asym_jax.metrics.columns import Columns, picture_columns, settled
from asym_jax.metrics.fid import look
from asym_jax.metrics.gathered import ByIndex
from asym_jax.metrics.inception_inputs import Mode
from asym_jax.metrics.lpips import picture_lpips

SCORE_MODE = "tf"
"""The only one of the FID's modes in which the Inception Score is defined."""

SAVE_SECONDS = 60
"""Time after which what was measured goes to disk."""


class Measures(NamedTuple):
    """What is measured.

    Attributes:
        paired: pictures are compared with their originals.
        metrics: names of the metrics; those of networks that are not there are passed over.
        mode: which of the three FIDs.
    """

    paired: bool
    metrics: tuple[str, ...]
    mode: Mode


def undefined(measures: Measures) -> dict[str, str]:
    """By metric, why it has no value among these, whatever files there are."""
    if "inception_score" not in measures.metrics or measures.mode == SCORE_MODE:
        return {}
    return {"inception_score": f"it is defined for pictures resized as --fid {SCORE_MODE} does it, not {measures.mode}"}


def measure(
    columns: Sequence[str],
    measures: Measures,
    judges: Judges,
    examples: Examples,
    book: Workbook,
    *,
    rows: int,
    advance: Callable[[int], None],
) -> dict[str, Columns]:
    """Measures the pictures of each column (the originals among them) that have not been measured yet; all of it, by column.

    Pictures come from their files, so that what is measured is what anybody can look at.
    """
    names = [record["name"] for _, record in sorted(book.notes.items())]
    (book.folder / SCORES).mkdir(exist_ok=True)
    spreads: dict[bool, Spread] = {}  # one compiled program for the originals, and one for all versions of them
    found = {}
    for column in columns:
        original = column == ORIGINAL
        program = _Program(measures, judges, original=original)
        stamp, path = program.stamp(), book.folder / SCORES / f"{file_name(column)}.npz"
        gathered = _begun(path, len(names), stamp)
        advance(len(names) - len(gathered.missing()))
        spread = spreads[original] = spreads.get(original) or Spread(program, program.params, rows=rows)
        load = functools.partial(program.inputs, column, book, names, examples)
        saved = time.monotonic()
        for loaded in read_ahead(spread.batches(gathered.missing()), load):
            batch = spread.stack(loaded)
            before = int(gathered.seen.sum())
            gathered.add(batch["index"], settled(jax.device_get(spread(batch))))
            advance(int(gathered.seen.sum()) - before)
            if time.monotonic() - saved > SAVE_SECONDS:
                gathered.save(path, stamp=stamp)
                saved = time.monotonic()
        gathered.save(path, stamp=stamp)
        found[column] = gathered.columns()
    return found


class _Program:
    """The function that runs on the devices, and what it is given."""

    def __init__(self, measures: Measures, judges: Judges, *, original: bool) -> None:
        self._judges = judges
        self._measures = measures._replace(paired=measures.paired and not original)
        used = {"inception"} if original else set(judges.params)
        self.params: dict[str, Params] = {name: params for name, params in judges.params.items() if name in used}

    def stamp(self) -> str:
        """What decides the numbers; those of a file with another stamp are measured again."""
        parts = {"measures": self._measures._asdict(), "networks": {name: self._judges.networks[name] for name in self.params}}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def inputs(self, column: str, book: Workbook, names: Sequence[str], examples: Examples, index: int) -> dict[str, Any] | None:
        """The arrays of one example, read from its files; None beyond the last one."""
        if index >= len(names):
            return None
        version = book.read(column, names[index])
        given: dict[str, Any] = {"index": np.int32(index), "version": version}
        if self._measures.paired:
            given["pixels"] = book.read(ORIGINAL, names[index])
            given["mask"] = (book.read(MASK, names[index]) / 255).astype(np.float32)
        if "clip" in self.params:
            box = box_of(book.read(MASK, names[index])[..., 0] >= 128)
            given["box"] = np.array(box, np.int32)
            given["example"] = reference_pixels(examples[index].reference)
        return given

    def __call__(self, params: dict[str, Params], batch: Mapping[str, Array]) -> dict[str, Array]:
        version, found = batch["version"], {}
        if self._measures.paired:
            pixels, mask = batch["pixels"], batch["mask"]
            found = picture_columns(pixels, version, mask)
            for name, trunk in (("lpips", "vgg"), ("lpips_alex", "alex")):
                if name in params:
                    found[name] = picture_lpips(trunk, *params[name], pixels, version)
        if "inception" in params:
            taps = look(params["inception"], version, self._measures.mode)
            found["pool3"] = taps.pool3
            if "inception_score" in self._measures.metrics and self._measures.mode == SCORE_MODE:
                found["logits"] = taps.logits
        if "clip" in params:
            see = self._judges.clip
            regions = embedded(see, params["clip"], region_inputs(version, batch["box"], side=see.image_size))
            examples = embedded(see, params["clip"], reference_inputs(batch["example"]))
            found["clip_score"] = clip_score(regions, examples)
        return found


def _begun(path: Path, count: int, stamp: str) -> ByIndex:
    """What was measured before, if it was measured in the same way."""
    if not path.exists():
        return ByIndex(count)
    try:
        return ByIndex.load(path, count=count, stamp=stamp)
    except InputError:  # with other weights: the pictures are there, so measuring again is cheap
        return ByIndex(count)

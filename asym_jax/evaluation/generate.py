"""The first half of an evaluation: every decoder's picture of every example, as PNG files."""

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from asym_jax.arrays import Images, Latents, Params, Pixels
from asym_jax.data.evaluation_sets.examples import EvaluationExample, EvaluationSet
from asym_jax.evaluation.spread import FILE_THREADS, Spread, read_ahead
from asym_jax.evaluation.subjects import PASTED, Subjects
from asym_jax.evaluation.versions import Plan, pasted, row_names, versions
from asym_jax.evaluation.workbook import MASK, MASKED, ORIGINAL, Workbook
from asym_jax.metrics.columns import Columns, decoded_columns, settled
from asym_jax.metrics.quantise import Quantisation, quantise
from asym_jax.sheets import masked_pixels

Examples = EvaluationSet | Sequence[EvaluationExample]


@runtime_checkable
class LatentSource(Protocol):
    """Where a task's latents come from: an encoder, or a diffusion model."""

    params: Params
    described: str
    masked: bool  # whether the task has pictures of which a part is to be kept

    def inputs(self, example: EvaluationExample) -> Mapping[str, Any]:
        """What `latents` needs of one example beyond pixels, mask and index; runs on the host."""
        ...

    def latents(self, params: Params, images: Images, batch: Mapping[str, Array]) -> Latents:
        """Unscaled latents, each a function of its own example alone; pure."""
        ...


class _Loaded(NamedTuple):
    """An example in memory."""

    name: str
    arrays: dict[str, Any]  # index, pixels, mask, and what the task needs


class _Made(NamedTuple):
    """What a device makes of its examples, by row of the evaluation."""

    pixels: tuple[Pixels, ...]
    columns: tuple[Columns, ...]  # what can only be said of a picture before it is rounded


def generate(
    subjects: Subjects,
    source: LatentSource,
    plan: Plan,
    examples: Examples,
    book: Workbook,
    *,
    rows: int,
    how: Quantisation,
    advance: Callable[[int], None],
) -> None:
    """Writes what is not yet there: the originals, the masks, and a column of pictures for each row.

    `rows` examples are decoded at a time on each device. `advance` is told how many examples were done each time.
    """

    def make(params: Params, batch: dict[str, Array]) -> _Made:
        images = batch["pixels"].astype(jnp.float32) / 127.5 - 1
        latents = source.latents(params["source"], images, batch)
        made = versions(subjects, plan, params["subjects"], latents, images, batch["mask"])
        pixels = [quantise(picture, how) for picture in made]
        columns = [decoded_columns(batch["pixels"], picture, batch["mask"]) for picture in made]
        if plan.conditioned:
            pixels.insert(1, pasted(pixels[0], batch["pixels"], batch["mask"]))
            columns.insert(1, {name: values * (not name.endswith("/sums")) for name, values in columns[0].items()})  # no errors
        return _Made(tuple(pixels), tuple(columns))

    missing = [index for index in range(len(examples)) if not book.done(index)]
    spread = Spread(make, {"subjects": subjects.params, "source": source.params}, rows=rows)
    names = row_names(subjects, plan)
    with ThreadPoolExecutor(FILE_THREADS) as pool:
        waiting: tuple[list[_Loaded | None], _Made] | None = None
        for loaded in read_ahead(spread.batches(missing), functools.partial(_load, examples, source)):
            started = spread(spread.stack([entry and entry.arrays for entry in loaded]))
            if waiting:  # written while the devices work on the next batch
                advance(_write(pool, book, names, *waiting))
            waiting = loaded, started
        if waiting:
            advance(_write(pool, book, names, *waiting))


def _load(examples: Examples, source: LatentSource, index: int) -> _Loaded | None:
    """An example, or None beyond the last one."""
    if index >= len(examples):
        return None
    example = examples[index]
    mask = np.ones((*example.pixels.shape[:2], 1), np.float32) if example.mask is None else example.mask
    fixed = {"index": np.int32(index), "pixels": example.pixels, "mask": mask.astype(np.float32)}
    return _Loaded(example.name, {**fixed, **source.inputs(example)})


def _write(pool: ThreadPoolExecutor, book: Workbook, names: Sequence[str], loaded: Sequence[_Loaded | None], made: _Made) -> int:
    """Saves the pictures of a batch, then notes them; returns how many examples were new."""
    made = jax.device_get(made)
    columns = dict(zip(names, map(settled, made.columns), strict=True))
    records, tasks = {}, []
    for i, entry in enumerate(loaded):
        if entry is None or book.done(int(entry.arrays["index"])):
            continue
        name, pixels, mask = entry.name, entry.arrays["pixels"], entry.arrays["mask"]
        hole = np.round(mask[..., 0] * 255).astype(np.uint8)
        pictures = {ORIGINAL: pixels, **{row: made.pixels[k][i] for k, row in enumerate(names)}}
        if PASTED in names:  # else nothing is to be kept, and there is no mask
            pictures |= {MASK: hole, MASKED: masked_pixels(pixels[None], mask[None])[0]}
        tasks += [pool.submit(book.save, column, name, picture) for column, picture in pictures.items()]
        records[int(entry.arrays["index"])] = {
            "name": name,
            "sha256": hashlib.sha256(pixels.tobytes() + hole.tobytes()).hexdigest(),
            "pixels": pixels.shape[0] * pixels.shape[1],
            "decoded": {row: {column: values[i].item() for column, values in columns[row].items()} for row in names},
        }
    for task in tasks:
        task.result()
    book.note(records)
    return len(records)

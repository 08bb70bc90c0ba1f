"""From a command to pictures, numbers and a report."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from asym_jax.config import SMALLEST_PICTURE
from asym_jax.data.evaluation_sets.examples import EvaluationSet
from asym_jax.data.evaluation_sets.masks import LIMITED
from asym_jax.data.evaluation_sets.named import open_evaluation_set
from asym_jax.errors import CannotSave, InputError
from asym_jax.evaluation import results
from asym_jax.evaluation.command import EvalCommand, set_of
from asym_jax.evaluation.encoded import EncodedLatents
from asym_jax.evaluation.environment import environment
from asym_jax.evaluation.generate import LatentSource, generate
from asym_jax.evaluation.judges import Judges, load_judges
from asym_jax.evaluation.measure import Measures, measure, undefined
from asym_jax.evaluation.report import ReportPicture, write_report
from asym_jax.evaluation.subjects import Subjects, fingerprint, load_subjects
from asym_jax.evaluation.tables import TABLES, aligned, markdown
from asym_jax.evaluation.versions import PRECISION, Plan, row_names
from asym_jax.evaluation.workbook import MASK, MASKED, ORIGINAL, Workbook, write_text
from asym_jax.metrics.columns import Columns
from asym_jax.weights.kinship import differing_half

METRICS = {
    "reconstruct": ("lpips", "lpips_alex", "fid"),
    "inpaint": ("lpips", "lpips_alex", "fid"),
    "paint-by-example": ("clip_score", "lpips", "fid"),
    "text-to-image": ("fid", "inception_score"),
}
"""Metrics of networks by task; where there are originals to compare with, all others are measured too."""

WITH_MASKS = ("cocoee", "pairs")
"""Sets that bring their own masks."""

DIFFUSION_SIZE = 512
"""Side of the pictures that Stable Diffusion is given unless another is asked for."""

LINE_SECONDS = 30
"""Between lines about progress, where there is no terminal."""

BINNED = ("reconstruct", "inpaint")
"""Tasks whose holes differ so much in size that their results are also given by size."""


def run(command: EvalCommand) -> None:
    """Evaluates, writes everything into `command.out` and prints the table. The same command again goes on where it was.

    Raises:
        InputError: weights, pictures, masks or the output folder are not usable.
        CannotSave: the output folder cannot be written any more.
    """
    subjects, source = _prepare(command)
    size = _size(command, subjects)
    table = command.table and TABLES[command.table]
    plan = Plan(conditioned=source.masked, ablation=bool(table and table.ablation))
    examples = open_examples(command, size=size, masked=source.masked)
    mode = command.fid or ("tf" if command.task == "text-to-image" else "legacy_pytorch")
    measures = Measures(source.masked, METRICS[command.task], mode)
    judges = load_judges(measures.metrics, undefined(measures))
    settings = _settings(command, subjects, source, examples, plan)
    source.inputs(examples[0])  # what is wrong with all of them is said before a folder is made
    names = row_names(subjects, plan)
    devices = f"{jax.device_count()} {jax.devices()[0].platform} device(s)"
    print(f"{len(examples)} examples of {examples.size} pixels; {', '.join(names)}; {devices}")
    with Workbook(command.out, settings, fresh=command.fresh) as book, _can_save(book):
        if book.notes:
            print(f"going on after {len(book.notes)} examples; --fresh starts over")
        with _progress("decoding", len(examples), len(book.notes)) as advance:
            generate(subjects, source, plan, examples, book, rows=command.rows_per_device, how=command.quantise, advance=advance)
        columns = ([ORIGINAL] if "inception" in judges.params else []) + names
        with _progress("measuring", len(columns) * len(examples), 0) as advance:
            measured = measure(columns, measures, judges, examples, book, rows=command.rows_per_device, advance=advance)
        document = _document(command, settings, examples, names, measured, measures, judges, book)
        write_report(book.folder, document, _pictures(names, measured, book), sheet_rows=command.sheet_rows)
        _say(command, document, judges, book)


@contextlib.contextmanager
def _can_save(book: Workbook) -> Iterator[None]:
    """A disk that is full, or gone, ends the evaluation with one message."""
    try:
        yield
    except BrokenPipeError:  # of the terminal, not of the folder
        raise
    except OSError as error:
        where = error.filename or book.folder
        raise CannotSave(
            f"{where} cannot be written: {error.strerror or error}. {len(book.notes)} examples are done; the same command goes on"
        ) from error


def _prepare(command: EvalCommand) -> tuple[Subjects, LatentSource]:
    """What is compared, and where its latents come from."""
    if command.task == "reconstruct":
        subjects = load_subjects(command.runs, command.weights, command.vae)
        return subjects, EncodedLatents(subjects)
    from asym_jax.evaluation.diffusion import open_diffusion  # only now: diffusers takes seconds to import

    source = open_diffusion(command, size=command.image_size or DIFFUSION_SIZE)
    subjects = load_subjects(command.runs, command.weights, command.vae or source.plain)
    part = differing_half(source.plain.params, subjects.vae_params)
    if part:
        raise InputError(f"--vae {command.vae} is not the autoencoder of --pipeline {command.pipeline}: their {part}s differ")
    return subjects, source


def _size(command: EvalCommand, subjects: Subjects) -> int:
    size = command.image_size or (DIFFUSION_SIZE if command.pipeline else subjects.trained_size)
    channels = (decoder.model.up_block_out_channels for decoder in subjects.decoders)
    stride = 2 ** (max(len(widths) for widths in channels) - 1)
    if size % stride or size < SMALLEST_PICTURE:
        raise InputError(f"--image-size {size} must be a multiple of {stride}, and at least {SMALLEST_PICTURE}")
    return size


def open_examples(command: EvalCommand, *, size: int, masked: bool) -> EvaluationSet:
    """The first `command.limit` examples, with their masks if the task needs any."""
    masks = command.masks
    if masked and masks is None and set_of(command.images) not in WITH_MASKS:
        masks = "thick_256" if size < 512 else "thick_512"
        if command.task == "inpaint":  # as the paper's pictures were made; elsewhere holes of every size are of interest
            masks += "_limited"
    if masks in LIMITED:
        print(f"masks {masks}: looking for pictures whose holes are all too large", flush=True)
    return open_evaluation_set(command.images, size=size, masks=masks, seed=command.seed, limit=command.limit)


def _settings(
    command: EvalCommand, subjects: Subjects, source: LatentSource, examples: EvaluationSet, plan: Plan
) -> dict[str, Any]:
    """Everything that decides a generated picture, so that an evaluation goes on only as it began."""
    return {
        "task": command.task,
        "decoders": {
            decoder.name: {"weights": decoder.source, "sha256": fingerprint(decoder.params)} for decoder in subjects.decoders
        },
        "ablation": plan.ablation,
        "vae": {"weights": subjects.vae_source, "sha256": fingerprint(subjects.vae_params)},
        "images": str(command.images),
        "examples": repr(examples),
        "masks": repr(examples.masks) if examples.masks else None,
        "image_size": examples.size,
        "latents": {"from": source.described, "sha256": fingerprint(source.params)},
        "precision": PRECISION,
        "quantise": command.quantise,
        "rows_per_device": command.rows_per_device,
    }


def _document(
    command: EvalCommand,
    settings: dict[str, Any],
    examples: EvaluationSet,
    names: Sequence[str],
    measured: dict[str, Columns],
    measures: Measures,
    judges: Judges,
    book: Workbook,
) -> dict[str, Any]:
    """results.json."""
    notes = [record for _, record in sorted(book.notes.items())]
    document = {
        "task": command.task,
        "settings": {
            **settings,
            "fid_mode": measures.mode,
            "data_sha256": results.data_hash(notes),
            "networks": judges.networks,
            "environment": environment(),
        },
        "rows": results.result_rows(names, measured, notes, measures),
        "skipped": judges.skipped,
        "undefined": judges.undefined,
        "bins": results.binned_rows(names, measured, notes, measures) if command.task in BINNED else {},
        "published": None,
        "notes": judges.notes + _left_out(examples),
    }
    if command.table:
        table, dataset = TABLES[command.table], set_of(command.images)
        rows = document["bins"].get(table.bin, []) if table.bin else document["rows"]
        document["table"] = {"number": command.table, "title": table.title, "set": dataset, "bin": table.bin, "rows": rows}
        document["published"] = list(table.published.get(dataset, ()))
    return document


def _left_out(examples: EvaluationSet) -> list[str]:
    if not examples.left_out:
        return []
    some = ", ".join(examples.left_out[:5]) + (", ..." if len(examples.left_out) > 5 else "")
    return [
        f"{len(examples.left_out)} pictures are not among these, because every hole that was drawn for them was too large: {some}"
    ]


def _pictures(names: Sequence[str], measured: dict[str, Columns], book: Workbook) -> list[ReportPicture]:
    """What the report may show, by example."""
    scores = results.per_picture(names, measured)
    found = []
    for index, record in sorted(book.notes.items()):
        name = record["name"]
        paths = {column: str(book.path(column, name).relative_to(book.folder)) for column in (ORIGINAL, MASKED, MASK, *names)}
        mine = {row: {metric: float(values[index]) for metric, values in scores[row].items()} for row in names}
        found.append(ReportPicture(name, paths, mine))
    return found


def _say(command: EvalCommand, document: dict[str, Any], judges: Judges, book: Workbook) -> None:
    """The table on the terminal, and where everything is."""
    if command.table:
        text = markdown(command.table, set_of(command.images), document["table"]["rows"], remarks=document["notes"])
        write_text(book.folder / f"table_{command.table}.md", text)
        print(text)
    else:
        print("\n".join(aligned(document["rows"])))
        for note in document["notes"]:
            print(f"note: {note}")
    for line in judges.not_measured():
        print(line)
    print(f"report: {book.folder / 'report.html'}")


@contextlib.contextmanager
def _progress(what: str, total: int, done: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; elsewhere a line now and then. Yields a function that is told how many more are done."""
    if sys.stderr.isatty():
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns) as bar:
            task = bar.add_task(what, total=total, completed=done)
            yield lambda more: bar.advance(task, more)
        return
    begin = said = time.monotonic()

    def advance(more: int) -> None:
        nonlocal done, said
        done += more
        now = time.monotonic()
        if more and (now - said > LINE_SECONDS or done == total):
            said = now
            print(f"{what} {done}/{total}  {now - begin:.0f} s", flush=True)

    yield advance

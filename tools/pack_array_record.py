"""Packs a folder of pictures into ArrayRecord shards, for quick random access on network disks.

    python -m tools.pack_array_record SOURCE OUT [--shards N] [--longest-side PIXELS [--quality Q]] [--threads N]

SOURCE is a folder or a .txt file with one path per line, as for `folder:` in data.source; train on the result with
`--data.source array_record:OUT`. The records are the files as they are, in the same order: if all are readable,
training on OUT sees the same batches as training on SOURCE. --longest-side shrinks larger pictures and re-encodes them as JPEG.

Every picture is decoded once; the ones that cannot be are listed and left out. Shards appear only when whole: a
packing that was stopped goes on with the first missing one when the same command is given again. `index.json`
comes last: shards, their records and names, what was left out, and the SHA-256 of the list of names.
"""

import argparse
import functools
import hashlib
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from rich.progress import Progress, TaskID

from asym_jax.commands import report_errors
from asym_jax.data.array_records import INDEX, PLAN, count_records
from asym_jax.data.pictures import UnreadablePicture, decode_picture, list_pictures
from asym_jax.errors import InputError

AT_ONCE = 64
"""Pictures in memory at once, per thread."""


class Plan(NamedTuple):
    """What is to be packed, and how; a packing goes on only with the same plan."""

    source: str
    sha256: str  # of the names, one per line
    pictures: int
    shards: int
    longest_side: int | None
    quality: int


def main(arguments: Sequence[str]) -> int:
    """Packs; the exit status is 0, also if pictures were left out."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.pack_array_record", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder of pictures, or a .txt file with one path per line")
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="folder for the shards: a new or an empty one, or where a packing was stopped"
    )
    parser.add_argument("--shards", type=int, metavar="N", help="files to write (default: one per 4096 pictures)")
    parser.add_argument("--longest-side", type=int, metavar="PIXELS", help="shrink larger pictures to this")
    parser.add_argument("--quality", type=int, default=95, metavar="Q", help="JPEG quality of shrunken pictures (default 95)")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), metavar="N", help="threads that decode (default: one per core)"
    )
    settings = parser.parse_args(arguments)
    for name in ("shards", "longest_side", "threads"):
        if getattr(settings, name) is not None and getattr(settings, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if not 1 <= settings.quality <= 100:
        parser.error("--quality must be between 1 and 100")
    with report_errors("the same command goes on from the first missing shard"):
        paths = list_pictures(settings.source.absolute())
        try:
            pack(settings.source, paths, settings.out, settings.shards, settings.longest_side, settings.quality, settings.threads)
        except OSError as error:  # pictures that cannot be read are left out, so it is not one of these
            raise InputError(f"{settings.out} cannot be written: {error.strerror or error}") from error
    return 0


def pack(
    source: Path, paths: Sequence[Path], out: Path, shards: int | None, longest_side: int | None, quality: int, threads: int
) -> None:
    """Writes the shards that are missing in `out`, and the index. Raises InputError if `out` holds anything else."""
    names = [_name(path, source.absolute()) for path in paths]
    listed = hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()
    count = shards or -(-len(paths) // 4096)
    plan = Plan(str(source), listed, len(paths), min(count, len(paths)), longest_side, quality)
    if _finished(out, plan):
        print(f"{out} is packed already")
        return
    done = _begin(out, plan)
    encode = functools.partial(_encode, longest_side=longest_side, quality=quality)
    with Progress() as progress, ThreadPoolExecutor(threads) as pool:
        task = progress.add_task("packing", total=len(paths))
        for number in range(plan.shards):
            part = range(number * len(paths) // plan.shards, (number + 1) * len(paths) // plan.shards)
            if str(number) in done:
                progress.advance(task, len(part))
                continue
            entries = [(names[i], paths[i]) for i in part]
            done[str(number)] = _write_shard(out / _shard(number, plan.shards), entries, encode, pool, progress, task, threads)
            _write_json(out / PLAN, {"plan": plan._asdict(), "done": done})
    shards_done = [done[str(number)] for number in range(plan.shards)]
    bad = {name: reason for shard in shards_done for name, reason in shard.pop("left_out").items()}
    _write_json(out / INDEX, {"plan": plan._asdict(), "shards": shards_done, "left_out": bad})
    (out / PLAN).unlink()
    _report(out, shards_done, bad)


def _report(out: Path, shards: Sequence[dict[str, Any]], bad: dict[str, str]) -> None:
    for name, reason in bad.items():
        print(f"left out {name}: {reason}", file=sys.stderr)
    total = sum(shard["records"] for shard in shards)
    print(f"{out}: {total} pictures in {len(shards)} shards, {len(bad)} left out.  --data.source array_record:{out}")


def _name(path: Path, source: Path) -> str:
    return str(path.relative_to(source)) if path.is_relative_to(source) else str(path)


def _shard(number: int, count: int) -> str:
    return f"pictures-{number:05}-of-{count:05}.array_record"


def _finished(out: Path, plan: Plan) -> bool:
    if not (out / INDEX).exists() or (out / PLAN).exists():
        return False
    _compare(out, _read_json(out / INDEX).get("plan", {}), plan)
    return True


def _begin(out: Path, plan: Plan) -> dict[str, Any]:
    """Shards that an earlier call finished, by number. Raises InputError if the folder is not ours alone."""
    if not (out / PLAN).exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out} is not empty, and no packing was begun there; give an empty or a new folder")
        out.mkdir(parents=True, exist_ok=True)
        _write_json(out / PLAN, {"plan": plan._asdict(), "done": {}})
    begun = _read_json(out / PLAN)
    _compare(out, begun["plan"], plan)
    ours = {_shard(number, plan.shards) for number in range(plan.shards)} | {PLAN, INDEX}
    ours |= {f".{name}.tmp" for name in ours}
    others = sorted(path.name for path in out.iterdir() if path.name not in ours)
    if others:
        raise InputError(f"{out} holds other files ({', '.join(others[:3])}) next to a packing that was begun; move them away")
    done = begun["done"]
    return {
        number: shard
        for number, shard in done.items()
        if (out / shard["file"]).exists() and count_records(out / shard["file"]) == shard["records"]
    }


def _compare(out: Path, found: dict[str, Any], plan: Plan) -> None:
    wrong = [name for name, value in plan._asdict().items() if found.get(name) != value and name != "source"]
    if wrong:
        differences = ", ".join(f"{name} was {found.get(name)} and is {getattr(plan, name)}" for name in wrong)
        raise InputError(f"{out} was packed from other pictures or with other settings ({differences}); give a new folder")


def _write_shard(
    path: Path,
    entries: Sequence[tuple[str, Path]],
    encode: Callable[[Path], bytes | str],
    pool: ThreadPoolExecutor,
    progress: Progress,
    task: TaskID,
    threads: int,
) -> dict[str, Any]:
    """Writes one file under a temporary name, and gives it its own when every byte is on the disk."""
    from array_record.python.array_record_module import ArrayRecordWriter

    temporary = path.with_name(f".{path.name}.tmp")
    # Random access needs groups of one record, and JPEG cannot be compressed any further.
    writer = ArrayRecordWriter(str(temporary), "group_size:1,uncompressed")
    names, bad = [], {}
    step = AT_ONCE * threads
    for first in range(0, len(entries), step):
        some = entries[first : first + step]
        for (name, _), content in zip(some, pool.map(encode, [place for _, place in some]), strict=True):
            if isinstance(content, str):
                bad[name] = content
            else:
                writer.write(content)
                names.append(name)
            progress.advance(task)
    writer.close()
    if not count_records(temporary) == len(names):
        raise InputError(f"{temporary} holds fewer records than were written: is the disk full?")
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    return {"file": path.name, "records": len(names), "names": names, "left_out": bad}


def _encode(path: Path, *, longest_side: int | None, quality: int) -> bytes | str:
    """The content of a record, or why there is none."""
    try:
        content = path.read_bytes()
        picture = decode_picture(content, str(path))
    except (OSError, UnreadablePicture) as error:
        return getattr(error, "reason", None) or f"{type(error).__name__}: {error}"
    height, width = picture.shape[:2]
    if longest_side is None or max(height, width) <= longest_side:
        return content
    scale = longest_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    file = io.BytesIO()
    Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS).save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} was not written by this program: {error}") from error


def _write_json(path: Path, value: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

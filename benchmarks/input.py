"""Pictures per second of the loader alone (decode, random crop, resize to 256 pixels), beside a PyTorch DataLoader doing the same.

    python -m benchmarks.input [--pictures DIR] [--rounds 5] [--batches 24]

The peers take turns, each in a process of its own, on the same JPEG files (without --pictures: 400 drawn ones of 500x375
pixels), which are in the page cache. The clock runs from the 9th batch of 32 to the last, so that starting up and what was
read ahead do not count. Where other programs use the processor too, compare pictures per second of processor time. The
DataLoader decodes with Pillow and resizes with the same filters. Needs torch, and Linux.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "input.json"
BATCH, SIZE, SCALE = 32, 256, (0.5, 1.0)
WARM_UP = 8
"""Batches before the clock starts; as many may have been read ahead."""


def ours(kind: str, threads: int, workers: int) -> Callable[[Path], Iterator[object]]:
    """A stream of this package from `folder` or `array_record`."""

    def open_stream(place: Path) -> Iterator[object]:
        from asym_jax.data.sources import open_source
        from asym_jax.data.stream import batches

        source = open_source(f"{kind}:{place / kind}")
        return batches(source, batch_size=BATCH, image_size=SIZE, crop_scale=SCALE, seed=0, threads=threads, workers=workers)

    return open_stream


def torch_loader(workers: int) -> Callable[[Path], Iterator[object]]:
    """The same work as people write it for PyTorch."""

    def open_loader(place: Path) -> Iterator[object]:
        import torch

        torch.set_num_threads(1)  # as in its workers; more of them only spin while batches are put together
        paths = sorted((place / "folder").iterdir())
        sampler = torch.utils.data.RandomSampler(paths, replacement=True, num_samples=10**6)
        return iter(torch.utils.data.DataLoader(Files(paths), BATCH, sampler=sampler, num_workers=workers, drop_last=True))

    return open_loader


class Files:
    """A data set for the DataLoader: random crops of picture files."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> object:
        import random

        import numpy as np
        import torch
        from PIL import Image

        with Image.open(self.paths[index]) as opened:
            image = opened.convert("RGB")
        width, height = image.size
        side = int(min(width, height) * random.uniform(*SCALE))
        left, top = random.randint(0, width - side), random.randint(0, height - side)
        method = Image.Resampling.BOX if side > SIZE else Image.Resampling.BILINEAR
        image = image.crop((left, top, left + side, top + side)).resize((SIZE, SIZE), method)
        return torch.from_numpy(np.array(image))


PEERS = {
    "folder, 1 thread": ours("folder", 1, 0),
    "torch, 0 workers": torch_loader(0),
    "folder, 2 threads": ours("folder", 2, 0),
    "folder, 2 workers": ours("folder", 2, 2),
    "torch, 2 workers": torch_loader(2),
    "folder, 8 threads": ours("folder", 8, 0),
    "array_record, 1 thread": ours("array_record", 1, 0),
    "array_record, 2 threads": ours("array_record", 2, 0),
    "array_record, 8 threads": ours("array_record", 8, 0),
    "array_record, 2 workers": ours("array_record", 2, 2),
}
RIVAL = {1: "torch, 0 workers", 2: "torch, 2 workers", 8: "torch, 2 workers"}
"""What a peer of ours with so many threads or workers is compared with; the DataLoader without workers reads in one thread."""


def cpu_seconds() -> float:
    """Processor time of this process and its children so far (Linux)."""
    pids = ["self", *(pid for tasks in Path("/proc/self/task").glob("*/children") for pid in tasks.read_text().split())]
    # After the name in brackets: state, ten numbers, then the time in user and system mode in ticks.
    ticks = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13] for pid in pids]
    return sum(int(user) + int(system) for user, system in ticks) / os.sysconf("SC_CLK_TCK")


def measure(peer: str, place: Path, count: int) -> dict[str, float]:
    """Pictures per second, and per second of processor time, of one peer in this process."""
    stream = PEERS[peer](place)
    for _ in range(WARM_UP):
        next(stream)
    begin, cpu = time.perf_counter(), cpu_seconds()
    for _ in range(count):
        next(stream)
    seconds, cpu = time.perf_counter() - begin, cpu_seconds() - cpu
    getattr(stream, "close", lambda: None)()
    return {"second": BATCH * count / seconds, "cpu_second": BATCH * count / cpu}


def prepare(place: Path, pictures: Path | None) -> dict[str, float]:
    """Puts the JPEG files, and shards of them, into `place`; says how many and how large they are."""
    from PIL import Image

    from tools.pack_array_record import main as pack

    (place / "folder").mkdir()
    if pictures:
        for path in sorted(pictures.glob("*.jp*g")):
            (place / "folder" / path.name).write_bytes(path.read_bytes())
    else:
        from asym_jax.data.synthetic import SyntheticSource

        source = SyntheticSource(size=500)
        for i in range(400):
            Image.fromarray(source[i][:375]).save(place / "folder" / f"{i:03}.jpg", quality=90)
    pack([str(place / "folder"), str(place / "array_record"), "--shards", "4"])
    sizes = []
    for path in (place / "folder").iterdir():
        with Image.open(path) as image:
            sizes.append((*image.size, path.stat().st_size))
    width, height, content = (statistics.mean(values) for values in zip(*sizes, strict=True))
    return {"pictures": len(sizes), "mean_width": round(width), "mean_height": round(height), "mean_bytes": round(content)}


def compare(place: Path, rounds: int, count: int) -> dict[str, dict[str, float]]:
    """Medians over `rounds`, the peers taking turns, and ratios to the DataLoader of the same round."""
    samples: dict[str, list[dict[str, float]]] = {peer: [] for peer in PEERS}
    for _ in range(rounds):
        for peer in PEERS:
            command = [
                sys.executable,
                "-m",
                "benchmarks.input",
                "--measure",
                peer,
                "--batches",
                str(count),
                "--pictures",
                str(place),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            samples[peer].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{peer:26} {samples[peer][-1]['second']:7.1f} pictures/s", flush=True)
    return {peer: summary(peer, samples) for peer in PEERS}


def summary(peer: str, samples: dict[str, list[dict[str, float]]]) -> dict[str, float | str]:
    """Medians and spread of one peer."""
    speeds, per_cpu = ([run[unit] for run in samples[peer]] for unit in ("second", "cpu_second"))
    row = {"pictures_per_second": statistics.median(speeds), "slowest": min(speeds), "fastest": max(speeds)}
    row["pictures_per_cpu_second"] = statistics.median(per_cpu)
    if not peer.startswith("torch"):
        rival = RIVAL[int(peer.split()[-2])]
        for name, unit in {"ratio": "second", "ratio_per_cpu_second": "cpu_second"}.items():
            row[name] = statistics.median(run[unit] / other[unit] for run, other in zip(samples[peer], samples[rival], strict=True))
        row["compared_with"] = rival
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="folder of JPEG files (default: drawn ones)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each peer (default 5)")
    parser.add_argument("--batches", type=int, default=24, help="batches of 32 in one measurement (default 24)")
    parser.add_argument("--measure", choices=PEERS, help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.measure:
        return print(json.dumps(measure(settings.measure, settings.pictures, settings.batches)))
    with tempfile.TemporaryDirectory() as temporary:
        files = prepare(Path(temporary), settings.pictures)
        load = os.getloadavg()[0]
        table = compare(Path(temporary), settings.rounds, settings.batches)
    packages = {name: version(name) for name in ("grain", "array_record", "numpy", "pillow", "torch")}
    machine = {"machine": platform.platform(), "cores": os.cpu_count(), "load_of_others": round(load, 1)}
    record = {**machine, "python": platform.python_version(), "packages": packages, "date": time.strftime("%F"), "files": files}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({**record, "rounds": settings.rounds, "results": table}, indent=2) + "\n")
    for peer, row in table.items():
        print(f"{peer:26} {row['pictures_per_second']:7.1f} ({row['slowest']:.1f} to {row['fastest']:.1f})", end="")
        ratio = f"  {row['ratio']:.2f} of {row['compared_with']}" if "ratio" in row else ""
        per_cpu = f" ({row['ratio_per_cpu_second']:.2f} per second of processor time)" if ratio else ""
        print(f"{ratio}{per_cpu}")


if __name__ == "__main__":
    main()

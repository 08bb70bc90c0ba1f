"""What devices send each other in one update, read off the compiled program.

    python -m benchmarks.collectives [--preset base] [--image-size 256]

Compiled for pretend CPU devices from shapes alone, with all copied (`dp`) and all split (`fsdp`); nothing is run. Backend
optimisation is low and minimal filtering off: both take minutes, and have no say in what is sent.
"""

import argparse
import json
import math
import os
import platform
import re
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent / "results" / "collectives.json"
KINDS = (
    "all-gather",
    "reduce-scatter",
    "all-reduce",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)
SIZES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Options of a compilation whose program is only read."""

INSTRUCTION = re.compile(
    rf"= (?P<type>\(.*?\)|\S+) (?P<kind>{'|'.join(KINDS)})(?P<start>-start)?\(.*?(?P<rest>replica_groups=.*|source_target_pairs=.*)"
)
ARRAY = re.compile(r"(?P<type>[a-z]+[0-9]*)\[(?P<shape>[0-9,]*)\]")


class Collective(NamedTuple):
    """One instruction, which all devices carry out together."""

    kind: str
    shapes: tuple[tuple[int, ...], ...]  # of the arrays that it carries, whole
    bytes: int  # of those arrays
    group: int  # devices that talk with each other
    place: str  # where in the source it comes from, as a path of named scopes

    @property
    def sent(self) -> float:
        """Bytes that each device sends, if groups form rings: an `all-reduce` goes round twice."""
        return self.bytes * (self.group - 1) / self.group * (2 if self.kind == "all-reduce" else 1)


def collectives_of(program: str) -> list[Collective]:
    """All collectives in the text of a compiled program (`compiled.as_text()`), in its order."""
    return list(_found(program))


def _found(program: str) -> Iterator[Collective]:
    for line in program.splitlines():
        if (match := INSTRUCTION.search(line)) is None:
            continue
        kind, group = match["kind"], _group(match["rest"])
        arrays = [
            (found["type"], tuple(map(int, filter(None, found["shape"].split(","))))) for found in ARRAY.finditer(match["type"])
        ]
        if match["start"] and kind != "all-reduce":
            arrays = arrays[len(arrays) // 2 :]  # what is given stands before what comes out
        size = sum(SIZES[name] * math.prod(shape) for name, shape in arrays)
        place = re.search(r'op_name="([^"]*)"', line)
        whole = size * group if kind == "reduce-scatter" else size
        yield Collective(kind, tuple(shape for _, shape in arrays), whole, group, place[1] if place else "")


def _group(attributes: str) -> int:
    """How many devices are in a group, in each of the ways that XLA has of writing it."""
    if match := re.match(r"replica_groups=\{\{([0-9,]+)\}", attributes):
        return len(match[1].split(","))
    if match := re.match(r"replica_groups=\[[0-9]+,([0-9]+)\]", attributes):
        return int(match[1])
    if match := re.match(r"replica_groups=mesh\[(.*?)\].*?\{('.*?)\}", attributes):
        sizes = dict(re.findall(r"('.*?')=([0-9]+)", match[1]))
        return math.prod(int(sizes[axis]) for axis in match[2].split(","))
    if attributes.startswith("source_target_pairs"):
        return 2
    raise ValueError(f"no groups can be read in {attributes[:200]!r}")


def compiled_step(config: Any, devices: int, networks: Any = None, *, critic_awake: bool = True) -> str:
    """The text of the program that updates on the first `devices` devices."""
    import jax
    from jax.sharding import AxisType

    from asym_jax.training.program import Program
    from asym_jax.training.sharding import DATA, FSDP
    from asym_jax.training.silence import Silence
    from benchmarks.abstract_run import abstract_run, networks_of

    networks = networks or networks_of(config)
    fsdp = config.sharding.fsdp
    shape = (devices // fsdp, fsdp)
    mesh = jax.make_mesh(shape, (DATA, FSDP), axis_types=(AxisType.Auto,) * 2, devices=jax.devices()[:devices])
    frozen, state = abstract_run(config, networks, mesh)
    lowered = Program(config, networks, mesh, Silence()).lower(frozen, state, critic_awake=critic_awake)
    return lowered.compile(QUICK).as_text()


def measure(settings: argparse.Namespace, devices: int, *, split: bool) -> dict[str, Any]:
    """Number, arrays and bytes of each kind."""
    from asym_jax.commands import load_preset
    from benchmarks.abstract_run import with_settings

    preset = load_preset(settings.preset, Path(__file__).parents[1] / "configs")
    config = with_settings(
        preset,
        data={"image_size": settings.image_size, "batch_size": preset.critic.norm_images * devices},
        sharding={"fsdp": devices if split else 1},
    )
    found = collectives_of(compiled_step(config, devices))
    kinds = {
        kind: {"count": len(of_kind), "arrays": sum(len(one.shapes) for one in of_kind), "bytes": sum(one.bytes for one in of_kind)}
        for kind in KINDS
        if (of_kind := [one for one in found if one.kind == kind])
    }
    return {"devices": devices, "split": split, "kinds": kinds, "sent": round(sum(one.sent for one in found))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="base")
    parser.add_argument("--image-size", type=int, default=256)
    settings = parser.parse_args()
    os.environ["ASYM_JAX_FILTERING"] = "off"
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
    rows = []
    for devices in (1, 2, 4, 8):
        for split in (False, True)[: 1 + (devices > 1)]:
            rows.append(row := measure(settings, devices, split=split))
            print(
                f"{devices} devices, {'fsdp' if split else 'dp  '}, sent {row['sent'] / 2**20:8.1f} MiB per device",
                row["kinds"],
                flush=True,
            )
    record = {"machine": platform.platform(), "jax": version("jax"), "date": time.strftime("%F"), **vars(settings)}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({**record, "results": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()

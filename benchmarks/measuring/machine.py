"""What ran where: enough to tell two records apart a year later."""

import contextlib
import os
import platform
import re
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from asym_jax.evaluation.environment import commit_of

PACKAGES = ("jax", "jaxlib", "flax", "jax-cuda13-plugin", "jax-cuda12-plugin", "numpy", "torch", "triton", "diffusers")
FLAGS = ("XLA_FLAGS", "JAX_PLATFORMS", "GLIBC_TUNABLES", "OMP_NUM_THREADS", "TORCHINDUCTOR_FREEZING", "LD_PRELOAD")


def versions(*more: str) -> dict[str, str]:
    """Of what is installed."""
    found = {"python": platform.python_version()}
    for package in (*PACKAGES, *more):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def description(device: str) -> dict[str, Any]:
    """The machine, and what in its surroundings changes the numbers; `device` is what JAX calls its first one."""
    return {
        "device": device,
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(_memory() / 2**30, 1),
        "flags": {name: os.environ[name] for name in FLAGS if name in os.environ},
        "commit": commit_of(Path(__file__)),
        "date": time.strftime("%F %T"),
    }


def slug(device: str) -> str:
    """A name for files: `cpu`, `nvidia-h200`."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> int:
    with contextlib.suppress(ValueError, OSError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 0

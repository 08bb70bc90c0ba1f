"""What numbers were computed with: versions, devices, and what in the surroundings changes them."""

import contextlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

from asym_jax.models.convolutions.chosen import VARIABLE

PACKAGES = ("asym_jax", "jax", "jaxlib", "flax", "numpy", "pillow", "diffusers", "transformers")


def environment() -> dict[str, Any]:
    """For results.json. What is not installed, not known or not set is left out."""
    device = jax.devices()[0]
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    if commit := commit_of(Path(__file__)):
        found["commit"] = commit
    if VARIABLE in os.environ:
        found[VARIABLE] = os.environ[VARIABLE]
    return found | {"devices": f"{jax.device_count()} {device.platform} ({device.device_kind})"}


def commit_of(file: Path) -> str:
    """The commit of the repository that `file` belongs to, with a + if files differ from it; empty for a file of none."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(file.parent), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        # A package that was installed into a folder of somebody's repository is no part of that repository.
        git("ls-files", "--error-unmatch", file.name)
        return git("rev-parse", "HEAD") + "+" * bool(git("status", "--porcelain", "-uno"))
    return ""

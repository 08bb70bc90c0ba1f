"""What comes with the pipelines, and what does not."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # as if it were not installed
import asym_jax.pipelines
from asym_jax.pipelines import components, safety
"""


def run(program: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_import_is_silent_and_needs_no_torch():
    done = run(WITHOUT_TORCH)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_training_needs_neither_diffusers_nor_transformers():
    program = (
        "import sys; sys.modules.update(diffusers=None, transformers=None); import asym_jax.training.loop, asym_jax.models.tiles"
    )
    done = run(program)
    assert done.returncode == 0, done.stderr

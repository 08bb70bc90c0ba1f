"""A run that moves from one process to two and back."""

import contextlib
import json
import re
import signal
import socket
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.training.processes import Training, last_record, records, whole_checkpoints
from tests.training.test_interruption import HINDERED
from tests.training.tiny import save_vae, tiny_config

pytestmark = pytest.mark.slow

WITHOUT_EFFECT = "mid_block.attentions.0.to_k.bias"
"""Softmax does not see it, so its gradient is rounding noise, which Adam magnifies."""


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


def batches(*said: str) -> dict[int, list[str]]:
    """The pictures of every batch, by its number; what several processes say lies side by side."""
    found: dict[int, list[str]] = {}
    for text in said:
        for number, digests in re.findall(r"^batch (\d+): (.*)$", text, re.MULTILINE):
            found.setdefault(int(number), []).extend(digests.split())
    return found


def test_one_two_one(tmp_path):
    vae = save_vae(tmp_path / "vae", (8,))
    config = tiny_config(vae, (8,), optim={"steps": 60}, data={"held_out": 3}, checkpoint={"every": 50}, log={"evaluate_every": 50})
    also = {"cache": tmp_path / "cache", "program": str(HINDERED), "hindrance": "announced batches"}
    with Training(config, tmp_path / "whole", devices=2, **also) as whole:
        expected = batches(whole.ends_with(0))
    root, seen = tmp_path / "moved", {}
    with Training(config, root, devices=2, **also) as alone:
        alone.until(lambda: last_record(root) >= 5, pause=0.01)
        alone.process.send_signal(signal.SIGTERM)
        seen |= batches(alone.ends_with(143))
    first = max(whole_checkpoints(root))
    which = ["--coordinator", f"127.0.0.1:{free_port()}", "--processes", "2", "--process"]
    with contextlib.ExitStack() as stack:
        two = [stack.enter_context(Training(config, root, *which, str(i), **also)) for i in range(2)]
        two[0].until(lambda: last_record(root) >= first + 5, pause=0.01)
        two[1].process.send_signal(signal.SIGTERM)  # only one of them is told
        said = [one.ends_with(143) for one in two]
    second = max(whole_checkpoints(root))
    assert all(f"SIGTERM: stopped after step {second}, which is saved; the same command goes on" in text for text in said)
    assert f"going on from step {first};" in said[0] and last_record(root) == second
    seen |= {number: digests for number, digests in batches(*said).items()}
    with Training(config, root, devices=2, **also) as alone:
        seen |= batches(alone.ends_with(0))
    assert alone.resumed_from == second > first + 4
    assert {number: seen[number] for number in range(60)} == {number: expected[number] for number in range(60)}
    for mine, theirs in zip(records(root), records(tmp_path / "whole"), strict=True):
        assert mine.keys() == theirs.keys()
        np.testing.assert_allclose(*([one[name] for name in sorted(mine)] for one in (mine, theirs)), rtol=1e-5, atol=1e-6)
    assert_close(root, tmp_path / "whole")


def assert_close(ours: Path, theirs: Path) -> None:
    mine, expected = (load_file(root / "decoder" / "diffusion_pytorch_model.safetensors") for root in (ours, theirs))
    errors = {name: np.linalg.norm(mine[name] - expected[name]) / np.linalg.norm(expected[name]) for name in expected}
    print(json.dumps({name: float(errors[name]) for name in sorted(errors, key=errors.get)[-3:]}))
    assert max(error for name, error in errors.items() if not name.endswith(WITHOUT_EFFECT)) < 1e-6

"""The programs in processes of their own, and how they end."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from asym_jax.commands import report_errors
from asym_jax.errors import Diverged, InputError, OutOfPictures
from tests.test_commands import assert_one_message

ROOT = Path(__file__).parents[1]

BAD_INPUT = {
    "typo": ("train.py", ["--config", "demo", "--optim.stepz", "5"], "Unrecognized options: --optim.stepz"),
    "missing VAE": (
        "train.py",
        ["--config", "demo", "--model.vae", "/nowhere"],
        "error: model.vae='/nowhere': there is no file or folder /nowhere",
    ),
    "missing run": (
        "eval.py",
        ["--run", "/nowhere", "--task", "reconstruct", "--images", "images"],
        "error: --run /nowhere: /nowhere/config.json cannot be read",
    ),
}


@pytest.mark.parametrize(("program", "arguments", "message"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_as_a_user_gives_it(tmp_path, program, arguments, message):
    command = [sys.executable, str(ROOT / program), *arguments]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert_one_message(ended.stderr)
    assert message in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InputError("no such folder"), 2, "error: no such folder\n"),
        (Diverged("step 3"), 1, "error: step 3\n"),
        (OutOfPictures("after step 3"), 1, "error: after step 3\n"),
    ],
)
def test_errors_of_users_end_with_their_message(capsys, monkeypatch, error, status, said):
    for traceback in ("0", "1"):
        monkeypatch.setenv("ASYM_JAX_TRACEBACK", traceback)
        with pytest.raises(SystemExit) as ended, report_errors():
            raise error
        stderr = capsys.readouterr().err
        assert ended.value.code == status and stderr.endswith(said)
        assert ("Traceback" in stderr) == (traceback == "1")


def test_interrupting_says_how_to_go_on_and_bugs_are_not_hidden(capsys):
    with pytest.raises(SystemExit) as ended, report_errors():
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert re.fullmatch(r"\ninterrupted; the same command goes on .*\n", capsys.readouterr().err)
    with pytest.raises(ZeroDivisionError), report_errors():
        print(1 / 0)


HELD_UP = """
import threading, time
from asym_jax.commands import report_errors
from asym_jax.errors import Interrupted

Waiting = type("Waiting", (threading.Thread,), {"__module__": "orbax.checkpoint._src.futures.future"})
Waiting(target=time.sleep, args=(600,)).start()
with report_errors():
    print("done")
    ENDING
"""


@pytest.mark.parametrize(("ending", "status"), [("pass", 0), ("raise Interrupted('saved', status=143, at_once=False)", 143)])
def test_what_a_failed_save_left_holds_nothing_up(ending, status):
    """Orbax's threads wait for each other for ten minutes; a scheduler would not."""
    program = HELD_UP.replace("ENDING", ending)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert ended.returncode == status and ended.stdout == "done\n"

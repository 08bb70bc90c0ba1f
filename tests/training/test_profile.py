"""`--profile START:STOP`."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from asym_jax.commands import parse_train
from asym_jax.errors import InputError
from asym_jax.training.profile import Profile, require_possible
from asym_jax.training.workdir import OWN

PRESETS = Path(__file__).parents[2] / "configs"


def test_a_trace_of_exactly_these_updates(tmp_path):
    notes, work = [], jax.jit(lambda x: x @ x)
    folder = tmp_path / "profile"
    with Profile(range(3, 5), folder, 1, notes.append) as profile:
        for n in range(1, 7):
            with profile.step(n):
                work(jnp.eye(64)).block_until_ready()
    (note,) = notes
    assert note.startswith(f"trace of updates 3 to 4: {folder}; open it with `xprof --logdir")
    (trace,) = folder.rglob("*.xplane.pb")
    (perfetto,) = folder.rglob("perfetto_trace.json.gz")
    steps = [event["args"]["step_num"] for event in read(perfetto) if event.get("name") == "train" and "step_num" in event["args"]]
    assert sorted(map(int, steps)) == [3, 4]
    # `--fresh` knows all of it.
    own = {path for pattern in OWN for path in tmp_path.glob(pattern)}
    assert {path for path in folder.iterdir()} <= own


def read(path: Path) -> list[dict]:
    import gzip

    return json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]


def test_a_trace_that_the_end_of_the_run_cuts_off_is_written(tmp_path):
    notes = []
    with pytest.raises(ZeroDivisionError), Profile(range(1, 9), tmp_path, 0, notes.append) as profile:
        for n in range(4):
            with profile.step(n):
                1 / (3 - n)
    assert len(notes) == 1 and list(tmp_path.rglob("*.xplane.pb"))


@pytest.mark.parametrize("text", ["5", "5:", "a:b", "5:5", "7:3", "-1:3", "1:2:3"])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(InputError, match=r"expected START:STOP, two whole numbers"):
        parse_train(["--config", "demo", f"--profile={text}"], PRESETS, "")


def test_ranges_outside_the_run_are_refused(tmp_path):
    require_possible(range(5, 10), 10)
    with pytest.raises(InputError, match="--profile 5:11: the run has 10 updates, of which the last is 9"):
        require_possible(range(5, 11), 10)
    with pytest.raises(InputError, match="--profile 5:8: the run goes on from update 6"):
        Profile(range(5, 8), tmp_path, 6, print)


def test_the_command_line_gives_the_range():
    assert parse_train(["--config", "demo", "--profile", "20:25"], PRESETS, "").profile == range(20, 25)
    assert parse_train(["--config", "demo"], PRESETS, "").profile is None

"""Full disks and folders that cannot be written: on small file systems of their own, where the machine lets us mount them."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import pytest

from asym_jax.checkpoint import Checkpoints, SaveFailed
from asym_jax.errors import CannotSave
from asym_jax.training.saving import RETRY_AFTER, Saver
from asym_jax.training.state import TrainState
from tests.training.processes import Training, last_record, whole_checkpoints
from tests.training.test_interruption import HINDERED, assert_same, whole  # noqa: F401
from tests.training.tiny import tiny_config


class Disk(Checkpoints):
    """Stands in for checkpoints; saves at once, or fails."""

    newest, busy = None, False

    def __init__(self) -> None:
        self.full, self.saved = False, []
        self._late: SaveFailed | None = None
        self.late = False  # whether failures come with the next call

    def save(self, step: int, items: dict, config: dict, **also: object) -> None:
        self.settle()
        error = SaveFailed("No space left on device") if self.full else None
        if error and not self.late:
            raise error
        self._late = error
        if not error:
            self.saved.append((step, also))

    def settle(self) -> None:
        error, self._late = self._late, None
        if error:
            raise error


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def run(monkeypatch):
    """A saver every 10 of 100 updates with 5 minutes of patience, its disk and its clock."""
    disk, clock = Disk(), Clock()
    config = tiny_config("vae", (8,), optim={"steps": 100}, checkpoint={"every": 10, "patience": 5})
    monkeypatch.setattr(time, "sleep", lambda seconds: setattr(clock, "now", clock.now + seconds))
    return SimpleNamespace(saver=Saver(config, disk, clock), disk=disk, clock=clock)


STATE = TrainState(jnp.zeros((), jnp.int32), {}, {}, {}, {}, {})


def advance(run: SimpleNamespace, steps: range, seconds: float) -> None:
    """As the loop does."""
    for done in steps:
        run.clock.now += seconds
        run.saver.look()
        if run.saver.due(done):
            run.saver.save(done, STATE, {})


@pytest.mark.parametrize(("late", "saved", "failures"), [(False, [16, 20], [10, 13]), (True, [14, 20], [10])])
def test_a_failed_save_is_tried_again_every_minute(run, caplog, late, saved, failures):
    """A late failure is heard of one step later."""
    run.disk.late = late
    run.disk.full = True
    advance(run, range(1, 14), seconds=20)
    assert run.disk.saved == []
    run.disk.full = False
    advance(run, range(14, 21), seconds=20)
    run.saver.look()
    assert [step for step, _ in run.disk.saved] == saved
    assert caplog.messages == [
        *(f"checkpoint {n} could not be written (No space left on device); training goes on and tries again" for n in failures),
        f"checkpoints can be written again: step {saved[0]} is saved",
    ]


def test_patience_ends(run):
    advance(run, range(1, 11), seconds=1)
    run.disk.full = True
    with pytest.raises(CannotSave, match=r"no checkpoint could be written \(No space.*newest checkpoint is that of step 10\. Mend"):
        advance(run, range(11, 99), seconds=20)
    assert 9 + 10 + 300 <= run.clock.now <= 10 + 200 + 300 + RETRY_AFTER


def test_at_the_end_of_a_run_it_is_waited_for(run):
    run.disk.full = True
    sleeps = []

    def free(seconds: float) -> None:
        run.clock.now += seconds
        sleeps.append(seconds)
        run.disk.full = sum(sleeps) < 100

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", free)
        run.saver.finish(100, STATE, impatient=lambda: False)
    assert [step for step, _ in run.disk.saved] == [100] and sum(sleeps) == 2 * RETRY_AFTER
    run.saver.finish(100, STATE, impatient=lambda: False)
    assert len(run.disk.saved) == 1
    run.disk.full = True
    with pytest.raises(CannotSave, match="step 100"):
        run.saver.finish(101, STATE, impatient=lambda: True)


def test_the_score_of_a_step_goes_with_it(run):
    config = run.saver._config
    best = config.model_copy(update={"checkpoint": config.checkpoint.model_copy(update={"keep_best": "held_out/l1"})})
    saver = Saver(best, run.disk, run.clock)
    saver.save(10, STATE, {"loss/total": 3.0, "held_out/l1": 0.5})
    saver.save(20, STATE, {"loss/total": 3.0})
    assert [also["scores"] for _, also in run.disk.saved] == [{"held_out/l1": 0.5}, None]


def mounted(place: Path, size: str) -> None:
    place.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("may not mount a file system here")


@pytest.fixture
def small(tmp_path) -> Iterator[Path]:
    """A folder with room for 8 MB."""
    mounted(tmp_path / "small", "8m")
    yield tmp_path / "small"
    subprocess.run(["umount", "-l", str(tmp_path / "small")], check=True)


def fill(folder: Path) -> Path:
    """Leaves no byte free, also while old checkpoints are being deleted."""
    path = folder / "fill"
    with path.open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
    return path


@pytest.mark.slow
@pytest.mark.parametrize("left", [0, 40_000])
def test_a_full_disk_is_waited_out(whole, small, left):  # noqa: F811
    root = small / "run"
    with Training(whole.config, root, cache=whole.cache, beside=small.parent) as training:
        training.until(lambda: last_record(root) >= 3, pause=0.01)
        path = fill(small)
        if left:  # so that a save begins, and fails half-way
            with path.open("r+b") as file:
                file.truncate(path.stat().st_size - left)
        training.until(lambda: training.said.count("could not be written (No space left on device") > 3, pause=0.01)
        assert training.process.poll() is None
        path.unlink()
        training.until_it_says("checkpoints can be written again")
        said = training.ends_with(0)
    assert "Traceback" not in said and "orbax" not in said.lower()
    assert not [name for name in (root / "checkpoints").iterdir() if not name.name.isdecimal()]
    assert_same(root, whole)


@pytest.mark.slow
def test_a_disk_that_stays_full_ends_the_run(whole, small):  # noqa: F811
    root = small / "run"
    with Training(
        whole.config, root, cache=whole.cache, beside=small.parent, program=str(HINDERED), hindrance="little patience"
    ) as training:
        training.until(lambda: last_record(root) >= 3, pause=0.01)
        fill(small)
        config = whole.config.checkpoint
        assert config.patience == 60  # of 3 seconds, here
        training.process.send_signal(15)
        said = training.ends_with(1)
    assert said.count("error: no checkpoint could be written (No space left on device") == 1
    (small / "fill").unlink()
    with Training(whole.config, root, cache=whole.cache, beside=small.parent) as training:
        training.ends_with(0)
    assert_same(root, whole)


@pytest.mark.slow
def test_a_folder_that_becomes_read_only_is_waited_out(whole, tmp_path):  # noqa: F811
    root = tmp_path / "run"
    with Training(whole.config, root, cache=whole.cache) as training:
        training.until((root / "checkpoints").is_dir, pause=0.01)
    mounted(root / "checkpoints", "8m")
    try:
        with Training(whole.config, root, cache=whole.cache) as training:
            training.until(lambda: len(whole_checkpoints(root)) >= 2, pause=0.01)
            remount = ["mount", "-o", "remount,ro", str(root / "checkpoints")]
            training.until(lambda: subprocess.run(remount, capture_output=True).returncode == 0)
            training.until(lambda: training.said.count("could not be written (Read-only file system") > 3, pause=0.01)
            subprocess.run(["mount", "-o", "remount,rw", str(root / "checkpoints")], check=True)
            training.until_it_says("checkpoints can be written again")
            training.until_it_says("    decoder: ")  # the last line
            training.ends_with(0, 30)  # and no thread of the failed save holds it up
        assert_same(root, whole)
    finally:
        subprocess.run(["umount", "-l", str(root / "checkpoints")], check=True)


@pytest.mark.slow
def test_a_truncated_newest_checkpoint_costs_one_interval(whole, tmp_path):  # noqa: F811
    root = tmp_path / "run"
    with Training(whole.config, root, cache=whole.cache) as training:
        training.until(lambda: len(whole_checkpoints(root)) >= 2 and last_record(root) >= 4, pause=0.01)
        training.process.kill()
        training.process.wait()
    before, newest = whole_checkpoints(root)[-2:]
    files = [path for path in (root / "checkpoints" / str(newest) / "decoder").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])
    with Training(whole.config, root, cache=whole.cache) as training:
        said = training.ends_with(0)
    assert said.count("is damaged") == 1 and f"checkpoint {newest} is damaged (" in said
    assert f"going on from step {before};" in said
    assert (root / "checkpoints" / f"damaged_{newest:06}").is_dir()
    assert_same(root, whole)

"""Checkpoints that are not what was written, and folders that cannot be written."""

import contextlib
import gc
import shutil
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

from asym_jax import checkpoint
from asym_jax.checkpoint.manifest import flaw, has_manifest
from asym_jax.errors import InputError
from tests.test_checkpoint import mesh_of, places, state

KEEP = checkpoint.Keep(2)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A folder with steps 2 and 3."""
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    with checkpoint.open_folder(folder, KEEP) as checkpoints:
        for step in (2, 3):
            checkpoints.save(step, jax.device_put(state(step), places(state(step), mesh_of(1)))._asdict(), {}, notes={"n": step})
    return folder


def load(folder: Path) -> checkpoint.Loaded | None:
    """And makes sure that what comes back is what was saved with that step."""
    expected = state(0)
    with checkpoint.open_folder(folder, KEEP) as checkpoints:
        loaded = checkpoints.load_newest(checkpoint.abstract_like(expected, places(expected, mesh_of(1)))._asdict())
    if loaded is not None:
        chex.assert_trees_all_equal(loaded.items, state(loaded.step)._asdict())
        assert loaded.notes == {"n": loaded.step}
    return loaded


def copy(saved: Path, folder: Path) -> Path:
    return shutil.copytree(saved, folder / "checkpoints")


def files(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def without_manifests(folder: Path) -> Path:
    """As a process leaves it that is killed just after a save; and as other versions wrote it."""
    for path in folder.glob("*/manifest.json"):
        path.unlink()
    return folder


DAMAGE = {
    "removed": lambda path, content: path.unlink(),
    "emptied": lambda path, content: path.write_bytes(b""),
    "truncated": lambda path, content: path.write_bytes(content[: len(content) // 2]),
    "zeroed": lambda path, content: path.write_bytes(bytes(len(content))),
    "changed by one bit": lambda path, content: path.write_bytes(bytes([content[0] ^ 1]) + content[1:]),
}


def test_what_is_whole_is_loaded_and_left_alone(saved, tmp_path, caplog):
    folder = copy(saved, tmp_path)
    assert load(folder).step == 3
    assert caplog.messages == []
    assert sorted(path.name for path in folder.iterdir()) == ["2", "3"]


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_any_damage_to_any_file_is_found(saved, tmp_path, damage):
    """The manifest itself aside, without which there is nothing to compare with."""
    folder = copy(saved, tmp_path) / "3"
    names = [name for name in files(folder) if name.name != "manifest.json"]
    assert len(names) > 20 and flaw(folder) is None
    for name in names:
        content = (folder / name).read_bytes()
        damage(folder / name, content)
        found = flaw(folder)
        assert found and found.startswith(str(name)), found
        (folder / name).write_bytes(content)
    damage(folder / "manifest.json", (folder / "manifest.json").read_bytes())
    assert not has_manifest(folder) or flaw(folder) is not None


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_the_one_before_takes_its_place(saved, tmp_path, caplog, damage):
    folder = copy(saved, tmp_path)
    largest = max((path for path in (folder / "3" / "decoder").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    damage(largest, content := largest.read_bytes())
    assert load(folder).step == 2
    (message,) = caplog.messages
    assert message.startswith("checkpoint 3 is damaged (decoder/") and "going on from 2" in message
    assert sorted(path.name for path in folder.iterdir()) == ["2", "damaged_000003"]
    assert len(content) > 0 and "damaged_000003" in message


def test_a_second_damaged_one_of_the_same_step_takes_no_name_away(saved, tmp_path):
    folder = copy(saved, tmp_path)
    (folder / "damaged_000003").mkdir()
    (folder / "3" / "_CHECKPOINT_METADATA").write_text("{")
    assert load(folder).step == 2
    assert sorted(path.name for path in folder.iterdir()) == ["2", "damaged_000003", "damaged_000003.2"]


@pytest.mark.slow
def test_each_file_in_turn(saved, tmp_path):
    """With the manifest, and for what Orbax finds also without."""
    for name in files(saved / "3"):
        for kind in ("removed", "truncated"):
            folder = copy(saved, tmp_path / "_".join(name.parts) / kind)
            DAMAGE[kind](folder / "3" / name, (folder / "3" / name).read_bytes())
            whole = name.name == "manifest.json" and kind == "removed"
            assert load(folder).step == (3 if whole else 2), (name, kind)


# Where loading fails half-way, Orbax leaves readers behind whose event loop is gone when Python collects them.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_without_a_manifest_loading_decides(saved, tmp_path, caplog):
    folder = without_manifests(copy(saved, tmp_path))
    assert load(folder).step == 3 and caplog.messages == []
    for path in (folder / "3" / "decoder_opt" / "d").iterdir():
        path.write_bytes(b"")
    assert load(folder).step == 2
    assert "checkpoint 3 is damaged" in caplog.messages[0] and "\n" not in caplog.messages[0]
    gc.collect()


def test_without_a_manifest_unreadable_metadata_is_damage(saved, tmp_path, caplog):
    folder = without_manifests(copy(saved, tmp_path))
    (folder / "3" / "_CHECKPOINT_METADATA").unlink()
    assert load(folder).step == 2
    assert "its metadata cannot be read" in caplog.messages[0]


def test_when_none_is_whole_all_stay_and_are_named(saved, tmp_path):
    folder = copy(saved, tmp_path)
    (folder / "3" / "_CHECKPOINT_METADATA").unlink()
    (folder / "2" / "decoder" / "_METADATA").write_text("")
    with pytest.raises(InputError) as caught:
        load(folder)
    assert str(caught.value).splitlines() == [
        f"none of the checkpoints in {folder} is whole:",
        "  3: _CHECKPOINT_METADATA is missing",
        "  2: decoder/_METADATA has 0 of " + str((saved / "2" / "decoder" / "_METADATA").stat().st_size) + " bytes",
        "--fresh starts over.",
    ]
    assert sorted(path.name for path in folder.iterdir()) == ["2", "3"]


def test_whole_checkpoints_of_another_state_are_no_damage(saved, tmp_path):
    """Another version of the program must not throw a run away."""
    folder = copy(saved, tmp_path)
    other = {
        "decoder": {"z": jax.ShapeDtypeStruct((4,), jnp.float32, sharding=jax.sharding.SingleDeviceSharding(jax.devices()[0]))}
    }
    for _ in range(2):
        with (
            checkpoint.open_folder(folder, KEEP) as checkpoints,
            pytest.raises(InputError, match="whole but cannot be loaded .*another"),
        ):
            checkpoints.load_newest(other)
        without_manifests(folder)
        break
    with checkpoint.open_folder(folder, KEEP) as checkpoints, pytest.raises(InputError, match="none of the checkpoints"):
        checkpoints.load_newest(other)
    assert sorted(path.name for path in folder.iterdir()) == ["2", "3"]


def test_an_empty_folder_holds_nothing(tmp_path):
    assert load(tmp_path / "new") is None


def item(value: float) -> dict[str, dict[str, jax.Array]]:
    return {"decoder": {"x": jnp.full((1 << 18,), value)}}


def names(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


def save_all(folder: Path, keep: checkpoint.Keep, scores: dict[int, dict[str, float] | None]) -> list[int]:
    """What is left of steps that were saved in two sessions."""
    steps = sorted(scores)
    for session in (steps[: len(steps) // 2], steps[len(steps) // 2 :]):
        with checkpoint.open_folder(folder, keep) as checkpoints:
            for step in session:
                checkpoints.save(step, item(step), {}, scores=scores[step])
    return names(folder)


def test_the_best_is_kept_besides_the_newest(tmp_path):
    errors = {1: 5.0, 2: 1.0, 3: 2.0, 4: None, 5: float("nan"), 6: 3.0, 7: 4.0}
    scores = {step: None if error is None else {"held_out/pre_error": error} for step, error in errors.items()}
    assert save_all(tmp_path / "a", checkpoint.Keep(2, best="held_out/pre_error"), scores) == [2, 6, 7]
    scores = {step: None if error is None else {"held_out/psnr": error} for step, error in errors.items()}
    assert save_all(tmp_path / "b", checkpoint.Keep(2, best="held_out/psnr"), scores) == [1, 6, 7]


def test_every_so_many_are_kept_for_good(tmp_path):
    assert save_all(tmp_path / "a", checkpoint.Keep(1, every=3), dict.fromkeys(range(1, 9))) == [3, 6, 8]


def test_what_is_saved_does_not_follow_what_is_computed_next(tmp_path):
    """The next update is given the very buffers that are being written."""
    update = jax.jit(lambda items: jax.tree.map(lambda leaf: leaf + 1, items), donate_argnums=0)
    items = item(0.0)
    folder = tmp_path / "checkpoints"
    with checkpoint.open_folder(folder, checkpoint.Keep(9)) as checkpoints:
        for step in range(5):
            checkpoints.save(step, items, {})
            items = update(update(items))
        for step in range(5):
            abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), items)
            checkpoints.settle()
            np.testing.assert_array_equal(checkpoints.load(step, abstract)["decoder"]["x"], 2.0 * step)


@contextlib.contextmanager
def no_room(monkeypatch: pytest.MonkeyPatch):
    """Orbax' own failure comes later, from another thread; a real full disk is in tests/training/test_survival.py."""

    def fail(self, *given: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fail)
        yield


def test_a_save_that_cannot_start_says_why_and_the_next_one_can(tmp_path, monkeypatch):
    folder = tmp_path / "checkpoints"
    with checkpoint.open_folder(folder, KEEP) as checkpoints:
        checkpoints.save(1, item(1), {})
        checkpoints.settle()
        with no_room(monkeypatch), pytest.raises(checkpoint.SaveFailed, match="^No space left on device$"):
            checkpoints.save(2, item(2), {})
        checkpoints.settle()
        checkpoints.save(3, item(3), {})
    assert sorted(path.name for path in folder.iterdir()) == ["1", "3"]


class Failing:
    """What Orbax returns for a save that fails later."""

    def result(self) -> bool:
        raise ValueError(
            'RESOURCE_EXHAUSTED: Failed writing: "x": Failed to write 7 bytes: No space left on device [os_error_code=28]'
        )


def test_a_save_that_fails_in_the_background_is_reported_once(tmp_path, monkeypatch, caplog):
    folder = tmp_path / "checkpoints"
    with checkpoint.open_folder(folder, KEEP) as checkpoints:
        checkpoints.save(1, item(1), {})
        checkpoints.settle()
        with monkeypatch.context() as patch:
            patch.setattr(ocp.training.Checkpointer, "save_checkpointables_async", lambda *_, **__: Failing())
            (folder / "2.orbax-checkpoint-tmp").mkdir()
            checkpoints.save(2, item(2), {})
            with pytest.raises(checkpoint.SaveFailed, match="^No space left on device$"):
                checkpoints.settle()
        assert sorted(path.name for path in folder.iterdir()) == ["1"]  # the room it took is free again
        checkpoints.settle()
        checkpoints.save(3, item(3), {})
    assert names(folder) == [1, 3] and caplog.messages == []


def test_a_checkpoint_without_a_manifest_is_saved_all_the_same(tmp_path, monkeypatch, caplog):
    def fail(place: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.folder, "write_manifest", fail)
    with checkpoint.open_folder(tmp_path / "checkpoints", KEEP) as checkpoints:
        checkpoints.save(1, item(1), {})
        checkpoints.settle()
        assert checkpoints.newest == 1
    assert caplog.messages == ["checkpoint 1 is saved, but nothing to check it by (No space left on device)"]

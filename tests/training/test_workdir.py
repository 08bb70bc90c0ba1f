"""Whose folder it is: claimed, shared, refused, cleared."""

import json
from pathlib import Path

import pytest

from asym_jax.config import CheckpointConfig, DataConfig, LogConfig, ModelConfig, OptimConfig, ShardingConfig, TrainConfig
from asym_jax.errors import InputError
from asym_jax.training.workdir import Workdir, open_workdir, write_json

CONFIG = TrainConfig(seed=3)
# Everything that a run writes (README and docs/training.md), with what a crash may leave of it.
WRITTEN = (
    "config.json",
    "inputs.json",
    ".inputs.json.tmp",
    "metrics.jsonl",
    "held_out.txt",
    "events.out.tfevents.1700000000.host",
    ".metrics.jsonl.tmp",
    "samples/step_00000250.png",
    "samples/.step_00000500.png.tmp",
    "checkpoints/250/_CHECKPOINT_METADATA",
    "checkpoints/500.orbax-checkpoint-tmp/decoder/x",
    "diagnosis/step_00000300/batch_0.npz",
    "profile/plugins/profile/2026_11_23/host.xplane.pb",
    "latents/cache_0123456789abcdef/00000.moments.npy",
    "checkpoints/damaged_000250/_CHECKPOINT_METADATA",
    "decoder/config.json",
    "decoder/diffusion_pytorch_model.safetensors",
    ".decoder.new/config.json",
)


def snapshot(folder: Path) -> dict[str, bytes]:
    """All files but the lock, which stays and says who had it last."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "run.lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def root(tmp_path):
    """The folder of an earlier run."""
    root = tmp_path / "runs" / "demo"
    open_workdir(root, CONFIG, fresh=False)
    for name in WRITTEN[1:]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def refused(root: Path, message: str, config: TrainConfig = CONFIG, *, fresh: bool = False) -> str:
    before = snapshot(root) if root.is_dir() else {}
    with pytest.raises(InputError, match=message) as caught:
        open_workdir(root, config, fresh=fresh)
    assert (snapshot(root) if root.is_dir() else {}) == before
    assert str(root) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("fresh", [False, True])
def test_a_new_or_an_empty_folder_is_claimed(tmp_path, fresh):
    for root in (tmp_path / "new" / "deep", tmp_path / "empty"):
        if root.name == "empty":
            root.mkdir()
        workdir = open_workdir(root, CONFIG, fresh=fresh)
        assert TrainConfig.model_validate_json(workdir.config.read_text()) == CONFIG
        assert {path.name for path in root.iterdir()} == {"config.json", "run.lock"}


def test_paths_hold_wherever_the_process_goes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workdir = Workdir(Path("run"))
    assert workdir.checkpoints == tmp_path / "run" / "checkpoints" and workdir.decoder == tmp_path / "run" / "decoder"


def test_the_same_config_goes_on_and_touches_nothing(root):
    before = snapshot(root)
    assert open_workdir(root, CONFIG, fresh=False).metrics == root / "metrics.jsonl"
    assert snapshot(root) == before


def test_threads_and_workers_may_change(root):
    data = CONFIG.data.model_copy(update={"threads": 3, "workers": 2})
    open_workdir(root, CONFIG.model_copy(update={"data": data}), fresh=False)


def test_what_is_kept_and_reported_may_change(root):
    """After a full disk a smaller `checkpoint.keep` must be possible; but what `keep_best` compares is in the checkpoints."""
    before = snapshot(root)
    data = DataConfig(latent_cache=True, cache_folder="/a")
    changed = {"checkpoint": CheckpointConfig(every=7, keep=1, patience=5), "log": LogConfig(every=3, evaluate_every=9, samples=1)}
    open_workdir(root, TrainConfig(seed=3, **changed), fresh=False)
    assert snapshot(root) == before
    with pytest.raises(InputError) as caught:
        open_workdir(root, TrainConfig(seed=3, data=data, checkpoint=CheckpointConfig(keep_best="held_out/l1")), fresh=False)
    assert str(caught.value).splitlines()[1:-1] == [
        "  checkpoint.keep_best:  there, held_out/l1 asked for",
        "  data.latent_cache: False there, True asked for",
    ]


def test_another_config_is_refused_with_every_difference_and_no_other(root):
    other = TrainConfig(seed=4, optim=OptimConfig(steps=9_000, betas=(0.5, 0.99)))
    lines = refused(root, "another config", other).splitlines()
    assert lines[1:-1] == [
        "  optim.betas: [0.5, 0.9] there, [0.5, 0.99] asked for",
        "  optim.steps: 172824 there, 9000 asked for",
        "  seed: 3 there, 4 asked for",
    ]
    assert all(way in lines[-1] for way in ("same settings", "--workdir", "--fresh"))


def test_how_a_run_is_computed_may_change(root):
    """Where numbers lie, in how many parts, and what is kept; also where an older version did not know the settings."""
    changed = {"sharding": ShardingConfig(fsdp=8, rules=(("x", "copy"),)), "optim": OptimConfig(accumulate=2)}
    before = snapshot(root)
    open_workdir(root, TrainConfig(seed=3, model=ModelConfig(remat="norms", norm="triton"), **changed), fresh=False)
    assert snapshot(root) == before
    values = json.loads((root / "config.json").read_text())
    del values["sharding"], values["optim"]["accumulate"], values["model"]["remat"]
    write_json(root / "config.json", values)
    open_workdir(root, CONFIG, fresh=False)


def test_settings_of_another_version_are_differences_too(root):
    values = json.loads((root / "config.json").read_text())
    del values["optim"]["betas"]
    write_json(root / "config.json", values | {"old_setting": 1})
    message = refused(root, "another config")
    assert "  optim.betas: absent there, [0.5, 0.9] asked for" in message
    assert "  old_setting: 1 there, absent asked for" in message


@pytest.mark.parametrize("content", ["{half", "[1, 2]", ""])
def test_a_damaged_config_is_refused_but_can_be_cleared(root, content):
    (root / "config.json").write_text(content)
    refused(root, "cannot be read as the config of a run .*--fresh")
    open_workdir(root, CONFIG, fresh=True)
    assert {path.name for path in root.iterdir()} == {"config.json", "run.lock"}


@pytest.mark.parametrize("fresh", [False, True])
def test_strangers_are_not_moved_in_with(tmp_path, fresh):
    for i in range(7):
        (tmp_path / f"photo_{i}.png").write_text("precious")
    message = refused(tmp_path, r"photo_0\.png, .*photo_4\.png and 2 more", fresh=fresh)
    assert "Choose another folder" in message or "Move these away" in message


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "is a file, not a folder")
    refused(tmp_path / "file" / "run", "cannot be written: Not a directory")


def test_a_folder_that_cannot_be_looked_into_is_one_message(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"^--workdir .* cannot be looked into: File name too long$"):
        open_workdir(tmp_path / ("x" * 300) / "run", CONFIG, fresh=False)

    def denied(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)  # the administrator, who may run this, is denied nothing
    for fresh in (False, True):
        with pytest.raises(InputError, match=r"^--workdir .* cannot be looked into: Permission denied$"):
            open_workdir(tmp_path, CONFIG, fresh=fresh)


def test_fresh_deletes_all_that_a_run_wrote(root):
    (root.parent / "neighbour").write_text("precious")
    open_workdir(root, OTHER := TrainConfig(seed=9), fresh=True)
    assert {path.name for path in root.iterdir()} == {"config.json", "run.lock"}
    assert TrainConfig.model_validate_json((root / "config.json").read_text()) == OTHER
    assert (root.parent / "neighbour").exists()


def test_fresh_works_with_relative_paths(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    open_workdir(Path("demo"), CONFIG, fresh=True)
    assert {path.name for path in root.iterdir()} == {"config.json", "run.lock"}


@pytest.mark.parametrize("stranger", ["notes.txt", ".git/config", "samples/mine.png", "decoder/notes.md", "checkpoints/best/x"])
def test_fresh_deletes_nothing_where_anything_else_lies(root, stranger):
    (root / stranger).parent.mkdir(parents=True, exist_ok=True)
    (root / stranger).write_text("precious")
    shown = "/".join(stranger.split("/")[:2]) if stranger.split("/")[0] != ".git" else ".git"
    assert f"also holds {shown}." in refused(root, "--fresh deletes only what a run wrote", fresh=True)


def test_fresh_does_not_follow_links(root, tmp_path):
    """A run never writes one, so what lies behind it is somebody's."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "step_1.png").write_text("precious")
    (root / "samples" / "step_00000250.png").unlink()
    (root / "samples" / ".step_00000500.png.tmp").unlink()
    (root / "samples").rmdir()
    (root / "samples").symlink_to(tmp_path / "disk")
    refused(root, "also holds samples", fresh=True)
    assert (tmp_path / "disk" / "step_1.png").exists()


@pytest.mark.parametrize("config", [None, '{"learning_rate": 0.1}'])
def test_fresh_does_not_clear_what_only_looks_like_a_run(tmp_path, config):
    """Other programs write checkpoints and samples too."""
    for name in ("checkpoints/100/weights", "samples/step_1.png", "metrics.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("precious")
    if config:
        (tmp_path / "config.json").write_text(config)
    refused(tmp_path, "holds no config.json of a run", fresh=True)


def test_a_crash_in_the_middle_of_writing_leaves_the_old_config(root, monkeypatch):
    before = (root / "config.json").read_bytes()

    def fail(self, text):
        self.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(OSError, match="disk full"):
        write_json(root / "config.json", {"new": 1})
    assert (root / "config.json").read_bytes() == before

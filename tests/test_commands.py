"""Bad input costs one message and exit status 2, before anything compiles, and leaves nothing behind."""

import importlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import train
from asym_jax.commands import parse_train, report_errors
from asym_jax.config import TrainConfig
from asym_jax.training import loop
from asym_jax.training.workdir import open_workdir
from asym_jax.weights import save_pretrained
from tests.evaluation.tiny import noise, random_weights, save_decoders, subjects, write

evaluate = importlib.import_module("eval")  # its name is also a builtin's

ROOT = Path(__file__).parents[1]
PRESET = """
from asym_jax.config import *

config = TrainConfig(
    model=ModelConfig(vae="{folder}/vae", channels=(4, 8), layers_per_block=1, norm_groups=4),
    critic=CriticConfig(channels=4, layers=2, norm_images=2),
    loss=LossConfig(perceptual=0.0),
    data=DataConfig(image_size=16, batch_size=8, held_out=0),
)
"""


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    """Good input: a preset, a VAE, a decoder, pictures and masks; and a VAE with another encoder."""
    folder = tmp_path_factory.mktemp("given")
    save_decoders(folder, levels=2)
    vae = subjects(levels=2).vae
    save_pretrained(folder / "other_vae", vae, random_weights(vae, 5))
    (folder / "tiny.py").write_text(PRESET.format(folder=folder))
    write(folder / "images", {"a.png": noise(1, 20, 30)[0], "b.png": noise(1)[0]})
    write(folder / "masks", {"a.png": np.zeros((20, 30), np.uint8), "b.png": np.zeros((16, 16), np.uint8)})
    write(folder / "other_masks", {"c.png": np.zeros((16, 16), np.uint8)})
    (folder / "empty").mkdir()
    (folder / "texts").mkdir()
    (folder / "texts" / "c.png").write_text("no picture")
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """The current folder: empty, and nobody's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASYM_JAX_WEIGHTS", str(tmp_path / "no_weights"))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.delenv("ASYM_JAX_TRACEBACK", raising=False)
    return tmp_path


def contents(folder: Path) -> set[tuple[str, bytes]]:
    return {(str(path), path.read_bytes() if path.is_file() else b"") for path in folder.rglob("*")}


def refused(main: Callable[[list[str]], None], arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one message on stderr of a program that ends with status 2 and changes nothing."""
    before = contents(Path.cwd())
    with pytest.raises(SystemExit) as ended, report_errors():
        main(arguments)
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert contents(Path.cwd()) == before
    assert said.out == ""
    assert_one_message(said.err)
    return said.err


def assert_one_message(stderr: str) -> None:
    """Ours and argparse's have a line that begins with `error:`, tyro's frames end alike."""
    assert len(re.findall(r"^error: |^\w+\.py: error: |For full helptext", stderr, re.MULTILINE)) == 1, stderr
    assert "Traceback" not in stderr


BAD_TRAINING = {
    "typo in a key": (["--optim.stepz", "5"], ["Unrecognized options: --optim.stepz", "--optim.steps INT"]),
    "stray word": (["extra"], ["Unrecognized options: extra"]),
    "impossible value": (["--data.batch-size", "0"], ["batch_size: Input should be greater than 0 (got 0)"]),
    "not a number": (["--optim.learning-rate", "fast"], ["--optim.learning-rate", "fast"]),
    "not finite": (["--optim.learning-rate", "inf"], ["learning_rate: Input should be a finite number"]),
    "wrong choice": (["--model.blend", "multiply"], ["--model.blend", "'add', 'concatenate'"]),
    "settings that clash": (["--data.image-size", "63"], ["data.image_size=63 must be a multiple of 2"]),
    "bucket as folder": (
        ["--workdir", "gs://bucket/run"],
        ["--workdir: gs://bucket/run is no folder", "mount the bucket (gcsfuse)"],
    ),
    "bucket as cache": (
        ["--data.latent-cache", "--data.cache-folder", "gs://bucket/cache"],
        ["cache_folder='gs://bucket/cache' is no folder", "mount the bucket (gcsfuse)"],
    ),
    "missing value": (["--workdir"], ["--workdir", "expected one argument"]),
    "no data source": (["--data.source", "s3://x"], ["unknown data source 's3://x'", "folder:DIR"]),
    "missing folder": (["--data.source", "folder:/nowhere"], ["no such folder of pictures: /nowhere"]),
    "folder without pictures": (["--data.source", "folder:{given}/empty"], ["no pictures in {given}/empty", ".png"]),
    "all held out": (
        ["--data.source", "folder:{given}/images", "--data.held-out", "2"],
        ["holding out 2 of 2 pictures leaves none", "lower data.held_out"],
    ),
    "missing VAE": (["--model.vae", "/nowhere"], ["model.vae='/nowhere': there is no file or folder /nowhere"]),
    "VAE without weights": (
        ["--model.vae", "{given}/empty"],
        ["model.vae='{given}/empty': {given}/empty must hold diffusion_pytorch_model.safetensors or another"],
    ),
    "asymmetric VAE": (["--model.vae", "{given}/decoder"], ["model.vae='{given}/decoder'", "a plain AutoencoderKL is needed"]),
    "missing decoder to start from": (["--model.init", "/nowhere"], ["model.init='/nowhere': there is no file or folder"]),
    "plain decoder to start from": (["--model.init", "{given}/vae"], ["model.init='{given}/vae' is a plain autoencoder"]),
    "decoder of other widths": (["--model.init", "{given}/decoder"], ["((8, 12), 1, 4, 'add')", "asks for ((4, 8), 1, 4, 'add')"]),
    "decoder unlike the VAE's": (["--model.channels", "8", "16"], ["((4, 8), 1, 4)", "--model.init random"]),
    "other depth than the VAE": (["--model.channels", "4", "4", "8"], ["model.channels has 3 levels", "has 2"]),
    "missing LPIPS weights": (
        ["--loss.perceptual", "1"],
        ["no_weights", "fetch vgg16 lpips-vgg", "vgg.pth", "--loss.perceptual 0"],
    ),
    "batch that devices cannot share": (["--data.batch-size", "12"], ["data.batch-size=12", "8 devices", "a multiple of 8"]),
    "unknown mask": (["--data.mask", "huge"], ["unknown mask recipe 'huge'", "thick_256"]),
    "rule that matches nothing": (["--optim.groups", "convv", "1", ".*", "1"], ["optim.groups", "matches ['convv']"]),
}


@pytest.mark.parametrize(("arguments", "expected"), BAD_TRAINING.values(), ids=BAD_TRAINING)
def test_train_refuses(given, capsys, arguments, expected):
    command = ["--config", f"{given}/tiny.py", *(argument.format(given=given) for argument in arguments)]
    said = refused(train.main, command, capsys)
    for part in expected:
        assert part.format(given=given) in said


BAD_PRESETS = {
    "raises": ("1 / 0", "mine.py fails with ZeroDivisionError: division by zero"),
    "no Python": ("config = (", "mine.py fails with SyntaxError"),
    "bad value": (
        "from asym_jax.config import *\nconfig = DataConfig(threads=0)",
        "threads: Input should be greater than 0 (got 0)",
    ),
    "no config": ("x = 1", "mine.py must define `config`, an asym_jax.config.TrainConfig"),
    "other config": ("config = {'seed': 1}", "mine.py must define `config`"),
}


@pytest.mark.parametrize(("content", "message"), BAD_PRESETS.values(), ids=BAD_PRESETS)
def test_broken_presets_are_named(here, capsys, content, message):
    (here / "mine.py").write_text(content)
    assert message in refused(train.main, ["--config", "mine.py"], capsys)


def test_presets_must_exist_and_be_given(capsys):
    said = refused(train.main, ["--config", "nope"], capsys)
    assert "--config nope: there is no" in said and "demo" in said
    assert "there is no nope.py" in refused(train.main, ["--config", "nope.py"], capsys)
    said = refused(train.main, ["--seed", "1"], capsys)
    assert "--config is missing" in said and "demo" in said


def claim(root: Path, given: Path, *, seed: int) -> None:
    """Makes `root` the folder of a run of the preset with another seed."""
    command = parse_train(["--config", f"{given}/tiny.py", "--seed", str(seed)], ROOT / "configs", "")
    open_workdir(root, command.config, fresh=False)


def test_the_folder_of_another_run_is_refused_with_the_differences(given, here, capsys):
    claim(here / "runs" / "tiny", given, seed=7)
    said = refused(train.main, ["--config", f"{given}/tiny.py", "--optim.steps", "6000"], capsys)
    differences = "  optim.steps: 172824 there, 6000 asked for\n  seed: 7 there, 0 asked for\n"
    assert f"runs/tiny holds a run with another config:\n{differences}" in said


def test_the_files_of_others_are_safe(given, here, capsys):
    (here / "work").mkdir()
    (here / "work" / "thesis.tex").write_text("years of work")
    command = ["--config", f"{given}/tiny.py", "--workdir", "work"]
    assert "--workdir work is not empty and holds no config.json of a run: thesis.tex" in refused(train.main, command, capsys)
    assert "also holds thesis.tex. Move these away first" in refused(train.main, [*command, "--fresh"], capsys)
    assert "is a file, not a folder" in refused(train.main, [*command, "--workdir", "work/thesis.tex"], capsys)


def test_fresh_deletes_what_the_run_wrote_and_only_once_all_else_is_in_order(given, here, capsys, monkeypatch):
    claim(here / "run", given, seed=7)
    (here / "run" / "metrics.jsonl").write_text("{}\n")
    (here / "notes.txt").write_text("mine")
    command = ["--config", f"{given}/tiny.py", "--workdir", "run", "--fresh"]
    refused(train.main, [*command, "--model.vae", "/nowhere"], capsys)  # the old run is still there

    class Started(Exception):
        pass

    def start(*_: object, **__: object) -> None:
        raise Started

    monkeypatch.setattr(loop.checkpoint, "open_folder", start)
    with pytest.raises(Started):
        train.main(command)
    assert {path.name for path in here.rglob("*")} == {"notes.txt", "run", "config.json", "inputs.json", "run.lock"}
    assert TrainConfig.model_validate_json((here / "run" / "config.json").read_text()).seed == 0


BAD_EVALUATION = {
    "missing images": ({"--images": "/nowhere"}, ["no such folder of pictures: /nowhere"]),
    "folder without pictures": ({"--images": "{given}/empty"}, ["no pictures in {given}/empty"]),
    "neither folder nor list": ({"--images": "{given}/tiny.py"}, ["tiny.py is neither a folder", ".txt"]),
    "files that are no pictures": (
        {"--images": "{given}/texts"},
        ["texts/c.png cannot be read", "leaves no picture out"],
    ),
    "unknown masks": ({"--masks": "huge"}, ["masks huge: neither a folder nor one of", "thick_256"]),
    "masks that lack one": (
        {"--masks": "{given}/other_masks"},
        ["other_masks: none for the picture a; expected a.png"],
    ),
    "missing weights": ({"--weights": "/nowhere"}, ["--weights /nowhere: there is no file or folder"]),
    "plain weights": ({"--weights": "{given}/vae"}, ["{given}/vae is a plain autoencoder; an asymmetric one is needed"]),
    "asymmetric VAE": ({"--vae": "{given}/decoder"}, ["--vae {given}/decoder is an asymmetric autoencoder"]),
    "missing VAE": ({"--vae": "/nowhere"}, ["--vae /nowhere: there is no file or folder"]),
    "VAE with another encoder": ({"--vae": "{given}/other_vae"}, ["decoder was not trained for this VAE", "--vae"]),
    "size that is no multiple": ({"--image-size": "17"}, ["--image-size 17 must be a multiple of 2"]),
    "size that is too small": ({"--image-size": "8"}, ["--image-size 8", "at least 16"]),
    "no pictures wanted": ({"--limit": "0"}, ["argument --limit: must be a whole number of at least 1, not '0'"]),
    "no number": ({"--rows-per-device": "x"}, ["argument --rows-per-device: must be a whole number of at least 1, not 'x'"]),
    "unknown task": ({"--task": "colourise"}, ["argument --task: invalid choice: 'colourise'", "reconstruct"]),
    "weights without VAE": ({"--vae": None}, ["--weights needs --vae"]),
    "nothing to evaluate": ({"--weights": None, "--vae": None}, ["nothing to evaluate: give --run or --weights"]),
    "neither task nor table": ({"--task": None}, ["--task or --table is missing"]),
    "table of another task": ({"--table": "4"}, ["--table 4 is of the task text-to-image, not reconstruct"]),
    "task without its model": ({"--task": "inpaint"}, ["--task inpaint needs --pipeline"]),
    "unknown set": (
        {"--images": "imagnet:{given}"},
        ["unknown evaluation set 'imagnet:", "imagenet:DIR"],
    ),
    "set that is not there": (
        {"--images": "imagenet:{given}"},
        ["no validation pictures there; expected ILSVRC2012_val"],
    ),
    "folder of something else": (
        {"--out": "{given}/images"},
        ["images holds files of something else (a.png, b.png)"],
    ),
    "typo": ({"--image": "x"}, ["unrecognized arguments: --image x"]),
    "place that cannot be written": ({"--out": "{given}/tiny.py"}, ["--out {given}/tiny.py cannot be written: File exists"]),
}


def evaluation(given: Path, changes: dict[str, str | None]) -> list[str]:
    options = {
        "--weights": "{given}/decoder",
        "--vae": "{given}/vae",
        "--task": "reconstruct",
        "--images": "{given}/images",
        "--masks": "{given}/masks",
    } | changes
    return [word.format(given=given) for option, value in options.items() if value is not None for word in (option, value)]


@pytest.mark.parametrize(("changes", "expected"), BAD_EVALUATION.values(), ids=BAD_EVALUATION)
def test_eval_refuses(given, capsys, monkeypatch, changes, expected):
    monkeypatch.setattr("asym_jax.evaluation.tasks.print", lambda *_: None, raising=False)  # one line, before `--out` is tried
    said = refused(evaluate.main, evaluation(given, changes), capsys)
    for part in expected:
        assert part.format(given=given) in said


def test_eval_refuses_masks_of_another_shape(given, here, capsys):
    write(here / "masks", {"a.png": np.zeros((30, 20), np.uint8)})
    said = refused(evaluate.main, evaluation(given, {"--masks": "masks"}), capsys)
    assert "the mask of a is 20 x 30; expected 30 x 20 as its picture, or 16 x 16 as the evaluation" in said


def test_eval_refuses_what_is_no_finished_run(given, here, capsys):
    def said(run: str) -> str:
        return refused(evaluate.main, evaluation(given, {"--weights": None, "--vae": None, "--run": run}), capsys)

    assert "--run /nowhere: /nowhere/config.json cannot be read" in said("/nowhere")
    claim(here / "run", given, seed=0)
    assert "--run run: no decoder/ there yet; it is written when the run ends" in said("run")
    assert "decoder/config.json is not the config of a training run" in said(f"{given}/decoder")

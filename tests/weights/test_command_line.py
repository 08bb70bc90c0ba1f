"""`python -m asym_jax.weights`, as somebody who has never seen it meets it."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from flax.serialization import msgpack_restore
from safetensors.numpy import load_file, save_file

from asym_jax.errors import InputError
from asym_jax.models.autoencoder import AsymmetricAutoencoderKL
from asym_jax.weights import load_pretrained, save_pretrained
from asym_jax.weights.__main__ import main, parser
from asym_jax.weights.card import Card
from asym_jax.weights.files.safetensors_file import read_safetensors
from tests.weights.trees import drawn

ROOT = Path(__file__).parents[2]
SMALL = AsymmetricAutoencoderKL((4, 8), 1, (4, 12), 1, norm_num_groups=2, scaling_factor=0.5)
SAFETENSORS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "decoder"
    save_pretrained(folder, SMALL, drawn(SMALL))
    return folder


def said(capsys, *arguments):
    """What a command prints, which must succeed; first words of lines, and the rest."""
    assert main([str(argument) for argument in arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {line[:13].strip(): line[14:] for line in lines if line[:13].strip()}


def count(tree):
    return f"{sum(leaf.size for leaf in jax.tree.leaves(tree)):,}"


def test_a_folder_is_described(saved, capsys):
    main(["inspect", str(saved)])
    text = capsys.readouterr().out
    size = (saved / SAFETENSORS).stat().st_size
    params = drawn(SMALL)
    for expected in (
        f"file          {saved / SAFETENSORS} ({size:,} bytes, safetensors)",
        "names         PyTorch diffusers",
        f"architecture  AsymmetricAutoencoderKL, according to {saved}/config.json",
        "encoder       widths 4, 8 from full resolution down, residual blocks per level: 1",
        "decoder       widths 4, 12, residual blocks per level: 2, mask-guided blending (add)",
        "latents       4 channels at 1/2 size, scaling factor 0.5",
        "complete      yes: every tensor of the architecture is there, and no other",
        "numbers       float32",
    ):
        assert expected in text.splitlines()
    counts = (line[14:].strip().partition("  ") for line in text.splitlines())
    table = {part: number for number, _, part in counts if number[:1].isdigit()}
    assert table["encoder"] == count(params["encoder"]) and table["in all"] == count(params)
    assert table["decoder.condition_encoder"] == count(params["decoder"]["condition_encoder"])
    assert table["decoder, the rest"] == count(
        {name: tree for name, tree in params["decoder"].items() if name != "condition_encoder"}
    )


def test_numbers_and_names_are_listed_on_request(saved, tmp_path, capsys):
    tensors = load_file(saved / SAFETENSORS)
    tensors["decoder.conv_in.bias"][2] = -1000
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    save_file(tensors, tmp_path / SAFETENSORS)
    lines = said(capsys, "inspect", tmp_path, "--values")
    assert lines["largest"] == "1000 in decoder.conv_in.bias" and lines["finite"] == "yes, all"
    tensors["decoder.conv_in.bias"][1] = np.nan
    tensors["encoder.conv_in.bias"] = np.full(4, -np.inf, ml_dtypes.bfloat16)
    save_file(tensors, tmp_path / SAFETENSORS)
    lines = said(capsys, "inspect", tmp_path, "--values")
    assert lines["finite"] == "NO: 2 tensors hold NaN or infinity: decoder.conv_in.bias, encoder.conv_in.bias"
    assert "bfloat16 (1 tensors)" in lines["numbers"]
    main(["inspect", str(tmp_path), "--tensors"])
    text = capsys.readouterr().out
    assert "\nencoder.conv_in.bias  (4,)  bfloat16\n" in text and text.count("  float32\n") == len(tensors) - 1


def test_what_does_not_fit_is_said(saved, tmp_path, capsys):
    tensors = load_file(saved / SAFETENSORS)
    del tensors["decoder.conv_in.bias"]
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    save_file(tensors | {"loss.weight": np.ones(3, np.float32)}, tmp_path / SAFETENSORS)
    lines = said(capsys, "inspect", tmp_path)
    assert lines["complete"].startswith("NO: ") and lines["left out"] == "1 tensors loss.*"
    main(["inspect", str(tmp_path)])
    assert "decoder.conv_in.bias (12,) is missing" in capsys.readouterr().out


def test_large_files_in_parts(saved, tmp_path, capsys):
    tensors = load_file(saved / SAFETENSORS)
    half = dict(list(tensors.items())[::2])
    save_file(half, tmp_path / "1.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if name not in half}, tmp_path / "2.safetensors")
    where = {name: f"{1 + (name not in half)}.safetensors" for name in tensors}
    (tmp_path / f"{SAFETENSORS}.index.json").write_text(json.dumps({"weight_map": where}))
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    shutil.copy(saved / "config.json", tmp_path)
    lines = said(capsys, "inspect", tmp_path)
    assert lines["file"].endswith(f"({size:,} bytes, safetensors in 2 parts)") and lines["complete"].startswith("yes")


def test_a_file_of_something_else_is_described_as_far_as_possible(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save_file(
        {"unet.a.weight": np.ones((2, 2), np.float32), "unet.b": np.ones(2, np.int8), "t": np.zeros(())}, tmp_path / "x.safetensors"
    )
    lines = said(capsys, "inspect", "~/x.safetensors", "--values")
    assert lines["architecture"].startswith("not an autoencoder that is known here: ")
    assert lines["tensors"] == "unet.* (2), t.* (1)" and lines["largest"] == "1 in unet.a.weight"
    assert lines["parameters"].split() == ["7", "in", "all"]  # 4, 2 and 1


def test_conversion_there_and_back(saved, tmp_path, capsys):
    for source, target, layout in (
        (saved, "flax", "flax"),
        (tmp_path / "flax", "official.safetensors", "official"),
        (tmp_path / "official.safetensors", "back", "diffusers"),
    ):
        assert main(["convert", str(source), str(tmp_path / target), "--to", layout]) == 0
        assert capsys.readouterr().out == f"wrote {tmp_path / target}\n"
    before, after = load_file(saved / SAFETENSORS), load_file(tmp_path / "back" / SAFETENSORS)
    assert before.keys() == after.keys() and all(np.array_equal(before[name], after[name]) for name in before)
    assert (tmp_path / "back" / "config.json").read_text() == (saved / "config.json").read_text()
    assert f"| converted from | {tmp_path / 'official.safetensors'} |" in (tmp_path / "back" / "README.md").read_text()


def test_a_conversion_keeps_what_is_known_of_the_training(tmp_path):
    card = Card(
        base="o/n/vae", data="folder:x", steps=70_000, metrics={"psnr": 31.25, "plain_psnr": 20.5}, measured_on="8 pictures"
    )
    save_pretrained(tmp_path / "decoder", SMALL, drawn(SMALL), card=card)
    chain = (("decoder", "flax", "flax"), ("flax", "x.safetensors", "official"), ("x.safetensors", "back", "diffusers"))
    for source, target, layout in chain:
        assert main(["convert", str(tmp_path / source), str(tmp_path / target), "--to", layout]) == 0
        made = tmp_path / target
        text = read_safetensors(made).metadata["card"] if layout == "official" else (made / "README.md").read_text()
        assert f"| converted from | {tmp_path / source} |\n| frozen autoencoder | o/n/vae |\n| pictures | folder:x |" in text
        assert "| steps | 70,000 |" in text and "\nOn 8 pictures.\n" in text and "| psnr | 31.25 | 20.5 |" in text

    for name in ("config.json", "README.md"):  # of something else, beside a file that has none of its own
        shutil.copy(tmp_path / "decoder" / name, tmp_path / name)
    tensors, config = load_file(tmp_path / "x.safetensors"), (tmp_path / "config.json").read_text()
    save_file(tensors, tmp_path / "y.safetensors", {"config": config})
    main(["convert", str(tmp_path / "y.safetensors"), str(tmp_path / "y"), "--to", "diffusers"])
    assert "70,000" not in (tmp_path / "y" / "README.md").read_text()


def test_conversion_with_other_numbers(saved, tmp_path):
    arguments = ["--to", "flax", "--dtype", "bfloat16", "--scaling-factor", "0.13025", "--subfolder", "decoder"]
    assert main(["convert", str(saved.parent), str(tmp_path / "x"), *arguments]) == 0
    tree = msgpack_restore((tmp_path / "x" / "diffusion_flax_model.msgpack").read_bytes())
    expected = drawn(SMALL)["decoder"]["conv_in"]["kernel"].astype(ml_dtypes.bfloat16)
    assert np.array_equal(tree["decoder"]["conv_in"]["kernel"], expected)
    assert load_pretrained(tmp_path / "x")[0] == SMALL.copy(scaling_factor=0.13025)


def test_targets_that_hold_something_else_are_left_alone(saved, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="thesis.tex was not written here"):
        main(["convert", str(saved), str(tmp_path / "x"), "--to", "flax"])
    for content in (b"precious", (saved / SAFETENSORS).read_bytes()):
        (tmp_path / "y.safetensors").write_bytes(content)
        with pytest.raises(InputError, match="y.safetensors is not replaced because it was not written here; choose a new name"):
            main(["convert", str(saved), str(tmp_path / "y.safetensors"), "--to", "official"])
        assert (tmp_path / "y.safetensors").read_bytes() == content
    with pytest.raises(InputError, match="must end in .safetensors"):
        main(["convert", str(saved), str(tmp_path / "y"), "--to", "official"])
    for _ in range(2):
        main(["convert", str(saved), str(tmp_path / "z.safetensors"), "--to", "official"])


def test_targets_elsewhere_are_refused_before_anything_is_read(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = "^gs://bucket/x cannot be written to: weights are written to this machine's disks only"
    for source in (saved, "no/such/source"):
        with pytest.raises(InputError, match=message):
            main(["convert", str(source), "gs://bucket/x", "--to", "diffusers"])
    for layout in ("diffusers", "flax", "official"):
        with pytest.raises(InputError, match=message):
            save_pretrained("gs://bucket/x", SMALL, drawn(SMALL), layout=layout)
    assert list(tmp_path.iterdir()) == []


MISTAKES = {
    (): "required: {inspect,convert,fetch,verify}",
    ("look",): "invalid choice: 'look'",
    ("inspect",): "required: SOURCE",
    ("inspect", "x", "--value"): "unrecognized arguments: --value",
    ("convert", "x", "y"): "required: --to",
    ("convert", "x", "y", "--to", "torch"): "invalid choice: 'torch' (choose from",
    ("convert", "x", "y", "--to", "flax", "--dtype", "int8"): "invalid choice: 'int8'",
    ("convert", "x", "y", "--to", "flax", "--scaling-factor", "nan"): "--scaling-factor: 'nan' is no number above 0",
    ("convert", "x", "y", "--to", "flax", "--scaling-factor", "0"): "--scaling-factor: '0' is no number above 0",
    ("convert", "x", "y", "--to", "flax", "--scaling-factor", "big"): "--scaling-factor: 'big' is no number above 0",
    ("fetch",): "fetch needs names, or --list to see them",
}


@pytest.mark.parametrize("arguments", MISTAKES)
def test_mistakes_on_the_command_line(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert MISTAKES[arguments] in capsys.readouterr().err.splitlines()[-1]


def commands():
    (choices,) = [action.choices for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return choices


@pytest.mark.parametrize("name", ["inspect", "convert", "fetch", "verify"])
def test_help_explains_every_option_and_shows_examples_that_parse(name, capsys):
    assert set(commands()) == {"inspect", "convert", "fetch", "verify"}
    for action in commands()[name]._actions:
        assert action.help
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0
    examples = [line.split()[3:] for line in text.splitlines() if line.startswith("    python -m asym_jax.weights ")]
    assert all(parser().parse_args(example).command == name for example in examples)
    assert examples or name == "verify"
    assert max(map(len, text.splitlines())) <= 132


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}


def run(*arguments, **more):
    return subprocess.run(
        [sys.executable, "-m", "asym_jax.weights", *arguments], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, **more
    )


def test_bad_input_costs_one_line_and_status_2(tmp_path):
    ended = run("inspect", str(tmp_path / "nothing"), stdout=subprocess.PIPE)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"error: there is no file or folder {tmp_path / 'nothing'} (looked for it in {Path.cwd()})\n"


def test_nobody_has_to_read_everything(saved):
    """As in `... --tensors | head -1`."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        ended = run("inspect", str(saved), "--tensors", stdout=closed)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_help_does_not_wait_for_jax():
    code = "import sys; from asym_jax.weights.__main__ import parser; print({'jax', 'flax', 'numpy'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True)
    assert ended.stdout == "set()\n", ended.stderr

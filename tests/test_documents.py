"""What the documents tell people to type can be typed."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from asym_jax.commands import parse_train
from asym_jax.weights.fetching.published import find

ROOT = Path(__file__).parents[1]
TRAINING = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
ENVIRONMENT = {"ASYM_JAX_WEIGHTS", "HF_HOME", "JAX_COMPILATION_CACHE_DIR"}


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", TRAINING, re.DOTALL)


def settings(command):
    assert command[0] == "train.py"
    return parse_train(command[1:], ROOT / "configs", "").config


@pytest.mark.parametrize("document", ["README.md", "docs/training.md", "docs/weights.md"])
def test_what_is_to_be_fetched_is_published(document):
    lines = re.findall(r"asym_jax\.weights fetch((?: [a-z0-9-]+)+)", (ROOT / document).read_text(encoding="utf-8"))
    names = {name for line in lines for name in line.split() if name != "--list"}
    assert {"vgg16", "lpips-vgg"} <= names
    for name in names:
        find(name)


def test_the_batch_script_is_one():
    (script,) = blocks("bash")
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    command = shlex.split(re.search(r"^srun .*?[^\\]$", script, re.MULTILINE | re.DOTALL)[0].replace("\\\n", ""))
    config = settings(command[2:])
    assert config.model.vae == "/shared/weights/sd-vae" and config.data.source == "folder:/shared/imagenet/train"
    assert set(re.findall(r"(\w+)=/shared/", script)) == ENVIRONMENT


@pytest.mark.parametrize(("status", "asked"), [(143, "requeue 7\n"), (0, ""), (1, ""), (137, "")])
def test_the_batch_script_comes_back_after_a_signal_only(status, asked):
    (script,) = blocks("bash")
    pretended = f"srun() {{ return {status}; }}\nscontrol() {{ echo $@; }}\n"
    ended = subprocess.run(["bash", "-c", pretended + script], env={"SLURM_JOB_ID": "7"}, stdout=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stdout) == (status, asked)


def test_the_manifests_are_some():
    yaml = pytest.importorskip("yaml")
    fetch, train = map(yaml.safe_load, blocks("yaml"))
    (fetching,) = fetch["spec"]["template"]["spec"]["containers"]
    assert fetching["command"][:4] == ["python", "-m", "asym_jax.weights", "fetch"]
    assert [find(name).name for name in fetching["command"][4:]] == ["vgg16", "lpips-vgg", "sd-vae"]
    (training,) = train["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"]
    assert settings(training["command"][1:]).model.vae == "/shared/weights/sd-vae"
    places = {entry["name"]: entry["value"] for entry in training["env"]}
    assert places.keys() >= ENVIRONMENT and places["ASYM_JAX_WEIGHTS"] == fetching["env"][0]["value"]

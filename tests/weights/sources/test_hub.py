"""The library of the Hugging Face hub is real, and only the hub is not."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants, file_download

from asym_jax.errors import InputError
from asym_jax.weights.sources.locate import locate
from tests.weights.sources.pretended_hub import pretending

CONFIG, SAFETENSORS, PICKLE = "config.json", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"
MSGPACK, INDEX = "diffusion_flax_model.msgpack", f"{SAFETENSORS}.index.json"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Empty, as is the cache."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pretending() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        address = running.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        offline(monkeypatch, False)
        yield running
        huggingface_hub.utils.reset_sessions()


def offline(monkeypatch, forbidden=True):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", forbidden)
    huggingface_hub.utils.reset_sessions()


def content(found):
    return found.config and found.config.read_bytes(), found.weights.read_bytes()


def refusal(*arguments, **more):
    with pytest.raises(InputError) as refused:
        locate(*arguments, **more)
    message = str(refused.value)
    assert "\n" not in message and len(message) < 700
    return message


PIPELINE = {
    "model_index.json": b"{}",
    "v1-5-pruned.ckpt": b"all",
    "v1-5-pruned-emaonly.safetensors": b"less",
    f"vae/{CONFIG}": b"config of vae",
    f"vae/{SAFETENSORS}": b"vae",
    f"vae/{PICKLE}": b"pickled vae",
    f"unet/{SAFETENSORS}": b"unet",
}


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        (["o/n/vae"], {}),
        (["o/n/vae/"], {}),
        (["o/n"], {"subfolder": "vae"}),
        (["o/n/vae@fp16"], {}),
        (["o/n"], {"subfolder": "vae", "revision": "fp16"}),
        (["o/n/vae@main"], {"revision": "fp16"}),
        ([f"o/n/vae/{SAFETENSORS}"], {}),
    ],
)
def test_a_folder_of_a_pipeline(hub, arguments, more):
    hub.add("o/n", PIPELINE)
    hub.add("o/n", {f"vae/{SAFETENSORS}": b"half", f"vae/{CONFIG}": b"half config"}, revision="fp16")
    half = "fp16" in str(arguments) + str(more)
    assert content(locate(*arguments, **more)) == ((b"half config", b"half") if half else (b"config of vae", b"vae"))
    assert sorted(hub.given) == [f"vae/{CONFIG}", f"vae/{SAFETENSORS}"]
    hub.given.clear()
    locate(*arguments, **more)
    assert hub.given == []


def test_a_whole_pipeline_is_not_an_autoencoder(hub):
    hub.add("o/n", PIPELINE)
    message = refusal("o/n")
    assert "give one of them: v1-5-pruned-emaonly.safetensors, v1-5-pruned.ckpt" in message and message.endswith(
        "did you mean o/n/vae?"
    )
    assert refusal("o/n@main").endswith("did you mean o/n/vae@main?")
    assert content(locate("o/n/v1-5-pruned.ckpt")) == (None, b"all")


@pytest.mark.parametrize("name", [PICKLE, MSGPACK, "larger.ckpt"])
def test_the_only_file_there_is(hub, name):
    hub.add("o/n", {"README.md": b"", CONFIG: b"config", name: b"weights"})
    assert content(locate("o/n")) == (b"config", b"weights")


def test_safetensors_come_first(hub):
    hub.add("o/n", {name: name.encode() for name in (MSGPACK, PICKLE, SAFETENSORS, "diffusion_pytorch_model.fp16.safetensors")})
    assert content(locate("o/n")) == (None, SAFETENSORS.encode())


def test_every_part_of_a_large_file_is_fetched(hub):
    index = json.dumps({"weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors", "c": "x-2.safetensors"}}).encode()
    hub.add("o/n", {f"vae/{INDEX}": index, "vae/x-1.safetensors": b"1", "vae/x-2.safetensors": b"2", "vae/x-3.safetensors": b"3"})
    found = locate("o/n/vae")
    assert found.weights.name == INDEX
    assert [(found.weights.parent / f"x-{n}.safetensors").read_bytes() for n in (1, 2)] == [b"1", b"2"]
    assert "vae/x-3.safetensors" not in hub.given

    hub.add("o/bad", {INDEX: json.dumps({"weight_map": {"a": "../../x.safetensors"}}).encode()})
    assert "names '../../x.safetensors', which is not a file with tensors beside it" in refusal("o/bad")
    hub.add("o/part", {INDEX: index, "x-1.safetensors": b"1"})
    assert "o/part: x-2.safetensors could not be fetched" in refusal("o/part")


def test_what_is_not_there(hub):
    hub.add("o/n", PIPELINE)
    assert f"o/x: there is no such file or folder in {Path.cwd()}" in refusal("o/x")
    assert f"there is no {hub.address}/o/x, or it is private (then log in here with `hf auth login`)" in refusal("o/x/vae")
    assert f"{hub.address}/o/n has no revision 'v9'" in refusal("o/n", revision="v9")
    assert "o/n/text: the folder on the hub must hold" in refusal("o/n/text") and "holds nothing" in refusal("o/n/text")
    assert f"has no such file; there it has {CONFIG}, {PICKLE}, {SAFETENSORS}" in refusal("o/n/vae/x.safetensors")
    assert hub.given == []


def test_terms_that_nobody_accepted(hub):
    hub.gated = True
    hub.add("o/n", PIPELINE)
    message = refusal("o/n/vae")
    assert f"{CONFIG} could not be fetched: its owners ask you to accept their terms; do so on {hub.address}/o/n" in message
    assert "hf auth login" in message


@pytest.mark.parametrize("name", ["o/n--x", "o/n..x", "o/" + "n" * 97, "o/n.", "-o/n"])
def test_names_that_no_repository_has(hub, name):
    assert "there is no" in refusal(name)


@pytest.fixture
def fetched(hub):
    """What an earlier run left in the cache."""
    hub.add("o/n", PIPELINE)
    found = locate("o/n/vae")
    hub.requests.clear()
    return found


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_is_busy(hub, fetched, status):
    hub.status = status
    assert locate("o/n/vae") == fetched
    assert all(request.startswith("/api/") for request in hub.requests)
    assert f"{status}" in refusal("o/other") and "Check the name and the network" in refusal("o/other")


def test_no_network_at_all(hub, fetched, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}")
    assert locate("o/n/vae") == locate(f"o/n/vae/{SAFETENSORS}") == fetched
    for missing in ("o/n/unet", f"o/n/vae/{PICKLE}", "runs/large/decoder"):
        assert refusal(missing) == (
            f"{missing}: there is no such file or folder in {Path.cwd()}, and the Hugging Face hub did not give it: there is no "
            "network, or none to http://127.0.0.1:9 (ConnectionError). Check the name and the network, or give the path of a "
            "downloaded folder"
        )
    assert hub.requests == []


def test_a_network_that_goes_away_between_two_files(hub, monkeypatch):
    """Without config.json the weights would be taken for those of a repository that has none."""
    hub.add("o/n", PIPELINE)
    download = huggingface_hub.hf_hub_download

    def one_only(*arguments, **more):
        found = download(*arguments, **more)
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        address = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        return found

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", one_only)
    monkeypatch.setattr(time, "sleep", lambda _: None)  # the library asks again and again
    assert refusal("o/n/vae").endswith(
        f"{SAFETENSORS} could not be fetched: there is no network, or none to http://127.0.0.1:9 (ConnectionError)"
    )
    assert hub.given == [f"vae/{CONFIG}"]
    assert "there is no network" in refusal("o/n/vae")


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_hub_that_has_it_no_more(hub, fetched, status, caplog):
    hub.status = status
    assert locate("o/n/vae") == fetched
    (said,) = caplog.messages
    assert said.startswith("o/n/vae is taken from the local cache, because the Hugging Face hub does not give it: ")
    assert locate(f"o/n/vae/{SAFETENSORS}") == fetched
    caplog.clear()
    assert "did not give it: " in refusal("o/n/unet") and "did not give it: " in refusal("o/n/vae", revision="other")
    assert caplog.messages == []


def test_long_messages_end_at_a_word(hub, monkeypatch):
    def fail(*_, **__):
        raise ValueError("word  " * 100)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    assert "ValueError: " + "word " * 59 + "...." in refusal("o/n")


def test_no_requests_where_they_are_forbidden(hub, fetched, monkeypatch):
    offline(monkeypatch)
    assert locate("o/n/vae") == fetched
    assert "HF_HUB_OFFLINE forbids to ask it, and the local cache lacks it" in refusal("o/n/unet")
    assert "HF_HUB_OFFLINE" in refusal("o/other/vae") and "HF_HUB_OFFLINE" in refusal("o/n/vae", revision="other")
    assert hub.requests == []


def test_the_environment_says_where_the_hub_and_its_cache_are(hub, tmp_path):
    hub.add("o/n", {CONFIG: b"config", SAFETENSORS: b"weights"})
    code = "from asym_jax.weights.sources.locate import locate; print(locate('o/n').weights)"

    def run(**more):
        where = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path(__file__).parents[3])}
        given = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE"))}
        return subprocess.run([sys.executable, "-c", code], env={**given, **where, **more}, capture_output=True, text=True)

    first, second = run(), run(HF_HUB_OFFLINE="1", HF_ENDPOINT="http://127.0.0.1:9")
    assert first.returncode == 0, first.stderr
    assert Path(first.stdout.strip()).is_relative_to(tmp_path / "home") and first.stdout == second.stdout
    assert second.stderr == ""
    assert hub.given == [CONFIG, SAFETENSORS]

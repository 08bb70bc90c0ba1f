import io

import pytest
from rich.console import Console

from asym_jax.errors import InputError
from asym_jax.weights.fetching import download
from asym_jax.weights.fetching.fetch_command import fetch_command, list_command, verify_command
from asym_jax.weights.fetching.progress import progress_bar

CONTENT = b"{}" * 1000


@pytest.fixture
def hub(site, monkeypatch, tmp_path):
    monkeypatch.setenv("ASYM_JAX_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", site.base)
    site.content = CONTENT
    return site


def test_an_autoencoder_comes_as_a_folder_that_can_be_checked(hub, tmp_path, capsys):
    fetch_command(["sdxl-vae", "sdxl-vae"], None, False)
    said = capsys.readouterr()
    folder = tmp_path / "sdxl-vae"
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "diffusion_pytorch_model.safetensors"]
    assert f"{folder}/config.json: fetched, ok (SHA-256 of the file as first received)" in said.out
    assert "fetching sdxl-vae/config.json of 2,000 bytes" in said.err  # no bar, because nobody looks
    assert "fetched sdxl-vae/config.json in 0 s" in said.err

    fetch_command(["sdxl-vae"], None, False)
    said = capsys.readouterr()
    assert "config.json: was there already, ok" in said.out and said.err == "" and len(hub.requests) == 2

    assert verify_command(None)
    said = capsys.readouterr().out
    assert "sdxl-vae/config.json                          ok     SHA-256 of the file" in said
    assert "not there: vgg16, lpips-vgg," in said and "sdxl-vae," not in said

    (folder / "config.json").write_bytes(b"{}" * 999 + b"[]")
    assert not verify_command(tmp_path)
    said = capsys.readouterr().out
    assert "wrong  expected SHA-256" in said and said.endswith("fetch sdxl-vae --force\n")
    fetch_command(["sdxl-vae"], tmp_path, True)
    assert verify_command(tmp_path)


def test_nothing_is_fetched_if_a_name_is_wrong(hub):
    with pytest.raises(InputError, match="did you mean asymmetric-x-2"):
        fetch_command(["sdxl-vae", "asymetric-x2"], None, False)
    assert hub.requests == []


def test_without_network_all_that_is_missing_is_named(hub, tmp_path, monkeypatch):
    (tmp_path / "vgg.pth").touch()
    (tmp_path / "sdxl-vae").mkdir()
    (tmp_path / "sdxl-vae" / "config.json").write_bytes(CONTENT)
    monkeypatch.setattr(download, "FIRST_PAUSE", 0.0)
    hub.statuses = [502] * download.ATTEMPTS
    with pytest.raises(InputError) as caught:
        fetch_command(["asymmetric-x-1-5", "lpips-vgg", "sdxl-vae"], None, False)
    at = "https://huggingface.co/cross-attention/asymmetric-autoencoder-kl-x-1-5/resolve/main"
    digest = "1cb78e76a8f701a81595be375d6555b3e4ad0e3f765ecfd72390256089c4fb4e"
    assert str(caught.value).endswith(
        "5 times in a row. To put what is missing there by hand: "
        f"{at}/config.json (size not published, SHA-256 not published) as {tmp_path}/asymmetric-x-1-5/config.json; "
        f"{at}/diffusion_pytorch_model.bin (size not published, SHA-256 {digest}) "
        f"as {tmp_path}/asymmetric-x-1-5/diffusion_pytorch_model.bin; "
        "https://huggingface.co/stabilityai/sdxl-vae/resolve/main/diffusion_pytorch_model.safetensors "
        f"(size not published, SHA-256 not published) as {tmp_path}/sdxl-vae/diffusion_pytorch_model.safetensors"
    )
    assert len(hub.requests) == 5


def test_the_list(hub, tmp_path, capsys):
    (tmp_path / "vgg.pth").write_bytes(b"")
    (tmp_path / "alex.pth.part").write_bytes(b"")
    list_command(None)
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line}
    assert rows["vgg16"][:3] == ["553", "MB", "no"]
    assert rows["lpips-vgg"][:3] == ["7.29", "kB", "yes"]
    assert rows["lpips-alex"][:3] == ["6.01", "kB", "partly"]
    assert rows["asymmetric-x-2"][:2] == ["?", "no"]


def test_an_empty_folder(tmp_path, capsys):
    assert verify_command(tmp_path / "nowhere")
    assert "none of the published files is there" in capsys.readouterr().out


def test_the_bar_on_a_terminal():
    stream = io.StringIO()
    with progress_bar("net[0].pth", Console(file=stream, force_terminal=True, width=120)) as report:
        report(500_000, 2_000_000)
        report(1_000_000, 2_000_000)
    shown = stream.getvalue()
    assert "net[0].pth" in shown and "1.0/2.0 MB" in shown
    stream = io.StringIO()
    with progress_bar("net.pth", Console(file=stream, force_terminal=True, width=120)):
        pass
    assert "net.pth" not in stream.getvalue()  # it was there already

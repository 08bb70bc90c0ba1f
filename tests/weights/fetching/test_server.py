"""Where requests may go, and what they may carry."""

import json

import pytest

from asym_jax.errors import InputError
from asym_jax.weights.fetching import server
from asym_jax.weights.fetching.download import fetch
from asym_jax.weights.fetching.published import PublishedFile
from tests.weights.fetching.loopback import CONTENT, OTHER, SHA256, file_of, nothing, serving


def test_only_safe_addresses(site, tmp_path):
    with pytest.raises(InputError, match="only https.*http://example.com/net.pth"):
        fetch(file_of(site)._replace(url="http://example.com/net.pth"), tmp_path, report=nothing)
    site.redirect = "file:///etc/passwd"
    with pytest.raises(InputError, match="only https"):
        fetch(file_of(site), tmp_path, report=nothing)
    site.redirect = "/some/net.pth"
    with pytest.raises(InputError, match="more than 10 times"):
        fetch(file_of(site), tmp_path, report=nothing)
    site.redirect, site.headers = None, {"Content-Type": "text/html; charset=utf-8"}
    with pytest.raises(InputError, match="a web page"):
        fetch(file_of(site, None, None), tmp_path, report=nothing)


@pytest.fixture
def hub(site, monkeypatch):
    """Hands over to `site`, as the Hugging Face hub does to its store."""
    with serving(redirect=f"{site.base}/store?signature=secret", headers={"X-Linked-ETag": f'"{SHA256}"'}) as running:
        monkeypatch.setenv("HF_ENDPOINT", f"{running.base}/")
        monkeypatch.setenv("HF_TOKEN", "hf_abc")
        yield running


ON_HUB = PublishedFile("net.bin", "https://huggingface.co/who/what/resolve/main/net.bin", None, None)


def test_the_hash_that_the_hub_announces_is_checked(hub, site, tmp_path):
    fetched = fetch(ON_HUB, tmp_path, report=nothing)
    assert fetched.finding.detail == "SHA-256 announced by the server"
    record = json.loads((tmp_path / "manifest.json").read_text())["files"]["net.bin"]
    assert (record["sha256"], record["hash_from"], record["url"]) == (SHA256, "announced by the server", ON_HUB.url)
    assert hub.requests[0]["path"] == "/who/what/resolve/main/net.bin"
    site.content = OTHER
    with pytest.raises(InputError, match=f"expected {SHA256} \\(announced by the server\\)") as caught:
        fetch(ON_HUB, tmp_path, report=nothing, force=True)
    assert "secret" not in str(caught.value)
    assert (tmp_path / "net.bin").read_bytes() == CONTENT  # the right one stays


def test_a_hub_with_another_file_than_published_is_noticed_at_once(hub, site, tmp_path, monkeypatch):
    monkeypatch.setattr(server, "SECONDS_OF_SILENCE", 0.1)
    site.stall = 0  # not a byte of it is waited for
    with pytest.raises(InputError, match=f"has SHA-256 {SHA256}, the published one {'0' * 64}"):
        fetch(ON_HUB._replace(sha256="0" * 64), tmp_path, report=nothing)
    assert len(site.requests) == 1


def test_the_token_goes_to_the_hub_alone(hub, site, tmp_path, monkeypatch):
    fetch(ON_HUB, tmp_path, report=nothing)
    assert [request.get("authorization") for request in hub.requests + site.requests] == ["Bearer hf_abc", None]
    site.requests.clear()
    fetch(file_of(site), tmp_path, report=nothing)
    assert "authorization" not in site.requests[0]

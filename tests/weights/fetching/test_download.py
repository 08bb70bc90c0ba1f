"""Every way in which a transfer can go wrong, against a server on this machine."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from asym_jax.errors import InputError
from asym_jax.weights.fetching import download, partial, server
from asym_jax.weights.fetching.download import fetch
from tests.weights.fetching.loopback import CONTENT, OTHER, SHA256, file_of, nothing, serving


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(download, "FIRST_PAUSE", 0.0)


def test_a_file_comes_with_a_record_of_what_it_was(site, tmp_path):
    seen = []
    file = file_of(site, name="vae/net.pth")
    fetched = fetch(file, tmp_path, report=lambda *both: seen.append(both))
    assert fetched.new and (tmp_path / "vae/net.pth").read_bytes() == CONTENT
    assert seen[0] == (0, len(CONTENT)) and seen[-1] == (len(CONTENT), len(CONTENT)) and seen == sorted(seen)
    assert json.loads((tmp_path / "manifest.json").read_text()) == {
        "files": {"vae/net.pth": {"url": file.url, "bytes": len(CONTENT), "sha256": SHA256, "hash_from": "published"}}
    }
    assert {path.name for path in tmp_path.rglob("*")} == {"vae", "net.pth", "manifest.json"}
    assert "asym_jax" in site.requests[0]["user-agent"]
    assert not fetch(file, tmp_path, report=nothing).new and len(site.requests) == 1


def test_a_killed_fetch_goes_on_where_it_ended(site, tmp_path):
    site.stall = 1_000_000
    program = (
        "import sys; from pathlib import Path; from asym_jax.weights.fetching.download import fetch; "
        "from asym_jax.weights.fetching.published import PublishedFile; "
        f"fetch(PublishedFile(*{tuple(file_of(site))}), Path({str(tmp_path)!r}), report=lambda *_: None)"
    )
    running = subprocess.Popen([sys.executable, "-c", program])
    part = tmp_path / "net.pth.part"
    try:
        deadline = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size >= 1_000_000):
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(InputError, match="another program is fetching it"):
            fetch(file_of(site), tmp_path, report=nothing)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    kept = part.stat().st_size
    assert kept < len(CONTENT) and not (tmp_path / "net.pth").exists()
    site.stall = None
    seen = []
    fetch(file_of(site), tmp_path, report=lambda done, total: seen.append(done))
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert site.starts == [None, f"bytes={kept}-"] and site.requests[1]["if-range"] == '"one"'
    assert site.sent[1] == len(CONTENT) - kept and seen[0] == kept


def test_a_dropped_connection_is_taken_up_again(site, tmp_path):
    site.drops = [400_000, 300_000]
    fetch(file_of(site), tmp_path, report=nothing)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert site.starts == [None, "bytes=400000-", "bytes=700000-"]


def interrupted(site, folder, file, at=400_000):
    """Leaves the first bytes of a file in `folder`."""

    def stop(done, total):
        if done >= at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(file, folder, report=stop)
    site.requests.clear()
    return (folder / f"{file.name}.part").stat().st_size


def test_a_server_without_ranges_starts_from_zero(site, tmp_path):
    site.ranges = False
    site.drops = [400_000]
    fetch(file_of(site), tmp_path, report=nothing)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert len(site.requests) == 2


@pytest.mark.parametrize("if_range", [True, False])
def test_a_changed_file_is_not_glued_to_the_old_beginning(site, tmp_path, if_range):
    file = file_of(site, None, None)
    kept = interrupted(site, tmp_path, file)
    site.content, site.etag, site.if_range = OTHER, '"two"', if_range
    fetch(file, tmp_path, report=nothing)
    assert (tmp_path / "net.pth").read_bytes() == OTHER
    assert site.starts == ([f"bytes={kept}-"] if if_range else [f"bytes={kept}-", None])


def test_without_etag_and_hash_nothing_is_taken_up(site, tmp_path):
    site.etag = None
    interrupted(site, tmp_path, file_of(site, None, None))
    fetch(file_of(site, None, None), tmp_path, report=nothing)
    assert site.starts == [None] and (tmp_path / "net.pth").read_bytes() == CONTENT


def test_a_part_that_is_complete_is_only_checked(site, tmp_path):
    kept = interrupted(site, tmp_path, file_of(site), at=len(CONTENT))
    fetch(file_of(site), tmp_path, report=nothing)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert site.starts == [f"bytes={kept}-"] and site.sent[1] == 0  # 416


def test_a_part_that_is_too_long_is_dropped(site, tmp_path):
    interrupted(site, tmp_path, file_of(site))
    with (tmp_path / "net.pth.part").open("ab") as part:
        part.write(OTHER + OTHER)
    fetch(file_of(site), tmp_path, report=nothing)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


def test_a_wrong_file_is_deleted(site, tmp_path):
    site.content = OTHER
    with pytest.raises(InputError, match=f"has SHA-256 {hashlib.sha256(OTHER).hexdigest()}, expected {SHA256}") as caught:
        fetch(file_of(site), tmp_path, report=nothing)
    for part in (site.base, "1,500,000 bytes", str(tmp_path / "net.pth")):
        assert part in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_size_is_not_transferred(site, tmp_path):
    site.content = CONTENT + b"x"
    with pytest.raises(InputError, match="has 1,500,001 bytes, the published one 1,500,000"):
        fetch(file_of(site), tmp_path, report=nothing)
    assert list(tmp_path.iterdir()) == []


def test_more_than_the_known_size_is_cut_off(site, tmp_path):
    site.content, site.length = CONTENT * 4, False
    with pytest.raises(InputError, match="more than the expected 1,500,000 bytes"):
        fetch(file_of(site), tmp_path, report=nothing)
    assert list(tmp_path.iterdir()) == []


def test_passing_errors_are_tried_again_and_lasting_ones_are_not(site, tmp_path):
    site.statuses = [503, 500]
    fetch(file_of(site), tmp_path, report=nothing)
    assert len(site.requests) == 3
    site.requests.clear()
    site.statuses = [404] * 9
    with pytest.raises(InputError, match="HTTP 404"):
        fetch(file_of(site, name="b"), tmp_path, report=nothing)
    assert len(site.requests) == 1
    site.statuses = [403]
    with pytest.raises(InputError, match="HTTP 403.*HF_TOKEN"):
        fetch(file_of(site, name="b"), tmp_path, report=nothing)
    site.requests.clear()
    site.statuses = [502] * 9
    with pytest.raises(InputError, match="HTTP 502.*5 times in a row"):
        fetch(file_of(site, name="b"), tmp_path, report=nothing)
    assert len(site.requests) == 5
    assert not (tmp_path / "b.part").exists()


def test_silence_ends(site, tmp_path, monkeypatch):
    monkeypatch.setattr(server, "SECONDS_OF_SILENCE", 0.1)
    site.stall = 200_000
    with pytest.raises(InputError, match=r"was silent for 0\.1 s, 5 times in a row; the first [\d,]+ bytes are kept"):
        fetch(file_of(site), tmp_path, report=nothing)
    site.stall = None
    fetch(file_of(site), tmp_path, report=nothing)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


def test_no_network(tmp_path):
    with serving() as gone:
        pass
    with pytest.raises(InputError, match="no connection to 127.0.0.1") as caught:
        fetch(file_of(gone), tmp_path, report=nothing)
    for part in (f"{gone.base}/some/net.pth", "1,500,000 bytes", SHA256, str(tmp_path / "net.pth")):
        assert part in str(caught.value)
    with pytest.raises(InputError, match="no network, or no host nowhere.invalid"):
        fetch(file_of(gone)._replace(url="https://nowhere.invalid/net.pth"), tmp_path, report=nothing)


def test_another_file_in_its_place_is_replaced_only_on_demand(site, tmp_path):
    (tmp_path / "net.pth").write_bytes(OTHER)
    with pytest.raises(InputError, match=f"net.pth is another file: expected SHA-256 {SHA256}.*--force replaces it"):
        fetch(file_of(site), tmp_path, report=nothing)
    assert site.requests == []
    fetch(file_of(site), tmp_path, report=nothing, force=True)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


def test_a_full_disk(site, tmp_path, monkeypatch):
    def full(file, block):
        if os.fstat(file.fileno()).st_size > 500_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return file.write(block[:70_000])  # systems may take less than they are given

    with monkeypatch.context() as patch:
        patch.setattr(partial, "_write", full)
        with pytest.raises(InputError, match=r"net\.pth\.part cannot be written \(No space left on device\)"):
            fetch(file_of(site), tmp_path, report=nothing)
    fetch(file_of(site), tmp_path, report=nothing)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT and site.starts[1] is not None


def test_a_folder_that_cannot_be_made(site, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="taken cannot be written"):
        fetch(file_of(site), tmp_path / "taken", report=nothing)

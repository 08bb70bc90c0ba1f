"""What the folder knows of its files."""

import hashlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from asym_jax.errors import InputError
from asym_jax.weights.fetching.cache import Record, State, read_manifest, verify, write_record
from asym_jax.weights.fetching.download import fetch
from tests.weights.fetching.loopback import CONTENT, SHA256, file_of, nothing


def test_two_records_live_in_one_manifest(site, tmp_path):
    fetch(file_of(site, name="one"), tmp_path, report=nothing)
    fetch(file_of(site, None, None, name="two"), tmp_path, report=nothing)
    records = json.loads((tmp_path / "manifest.json").read_text())["files"]
    assert [(name, record["hash_from"]) for name, record in records.items()] == [
        ("one", "published"),
        ("two", "of the file as first received"),
    ]


def test_no_record_is_lost_when_many_are_added_at_once(tmp_path):
    record = Record("https://example.com/net", 1, SHA256, "published")

    def add(first):
        for number in range(first, first + 25):
            write_record(tmp_path, f"{number}", record)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add, (0, 25, 50, 75)))
    assert read_manifest(tmp_path) == {f"{number}": record for number in range(100)}


def test_a_damaged_manifest_is_named(site, tmp_path):
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="manifest.json is damaged.*delete it"):
        fetch(file_of(site), tmp_path, report=nothing)
    assert site.requests == []


def test_many_at_once(site, tmp_path):
    """Different files go on side by side, and no record is lost; of one file only one is fetched."""
    site.stall = 0
    ends = []

    def one(name):
        try:
            ends.append(fetch(file_of(site, name=name), tmp_path, report=nothing).new)
        except InputError as error:
            ends.append(str(error))

    threads = [threading.Thread(target=one, args=(name,)) for name in ("a", "b", "c", "d", "d")]
    for thread in threads:
        thread.start()
    while len(site.requests) < 4:
        time.sleep(0.01)
    while not ends:
        time.sleep(0.01)
    site.stall = None
    for thread in threads:
        thread.join()
    assert ends.count(True) == 4 and "another program is fetching it" in ends[0]
    assert sorted(json.loads((tmp_path / "manifest.json").read_text())["files"]) == ["a", "b", "c", "d"]


def test_verify_finds_a_flipped_bit(site, tmp_path, monkeypatch):
    fetch(file_of(site, None, None, name="first"), tmp_path, report=nothing)
    fetch(file_of(site, name="half"), tmp_path, report=nothing)
    states = {finding.file: finding for finding in verify(tmp_path)}
    assert states["first"].state is State.OK and states["first"].detail == "SHA-256 of the file as first received"
    assert states["vgg.pth"].state is State.MISSING
    damaged = bytearray(CONTENT)
    damaged[777_777] ^= 1
    (tmp_path / "first").write_bytes(damaged)
    (tmp_path / "half").write_bytes(CONTENT[:-1])
    (tmp_path / "vgg.pth.part").write_bytes(b"12345")
    (tmp_path / "stranger").write_bytes(b"")
    (tmp_path / "sdxl-vae").mkdir()
    (tmp_path / "sdxl-vae/config.json").write_text("{}")
    states = {finding.file: finding for finding in verify(tmp_path)}
    assert states["first"].state is State.WRONG
    assert f"expected SHA-256 {SHA256}" in states["first"].detail
    assert f"found {hashlib.sha256(damaged).hexdigest()}" in states["first"].detail
    assert states["half"] == ("half", State.WRONG, "expected 1,500,000 bytes, found 1,499,999")
    assert states["vgg.pth"].state is State.PARTIAL and "5 bytes" in states["vgg.pth"].detail
    assert states["sdxl-vae/config.json"].state is State.UNVERIFIED
    assert "stranger" not in states

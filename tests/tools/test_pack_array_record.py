"""A folder and its shards give the same batches; a packing that is killed goes on; nothing foreign is overwritten."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asym_jax.data.sources import open_source
from asym_jax.data.stream import batches
from asym_jax.errors import InputError
from tools.pack_array_record import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    """Nine noisy JPEGs and PNGs in two folders; `broken` can be added."""
    rng = np.random.default_rng(0)
    for i in range(9):
        path = tmp_path / "pictures" / "ab"[i % 2] / f"{i}{('.jpg', '.png')[i % 3 == 0]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 30 + i, 3), dtype=np.uint8)).save(path)
    return tmp_path / "pictures"


def pack(folder, out, *settings):
    assert main([str(folder), str(out), "--threads", "2", *settings]) == 0
    return json.loads((out / "index.json").read_text())


def stream(spec, **changes):
    settings = dict(batch_size=4, image_size=16, crop_scale=(0.5, 1.0), seed=1, threads=2)
    with batches(open_source(spec), **settings | changes) as found:
        return np.stack(list(itertools.islice(found, 5)))


def test_shards_hold_the_same_bytes_and_give_the_same_batches(folder, tmp_path):
    index = pack(folder, tmp_path / "out", "--shards", "2")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "index.json",
        "pictures-00000-of-00002.array_record",
        "pictures-00001-of-00002.array_record",
    ]
    assert [shard["records"] for shard in index["shards"]] == [4, 5] and index["left_out"] == {}
    packed, source = (open_source(spec) for spec in (f"array_record:{tmp_path}/out", f"folder:{folder}"))
    assert [str(folder / packed.name(i)) for i in range(9)] == [source.name(i) for i in range(9)]
    assert packed._records[5] == source.paths[5].read_bytes()
    np.testing.assert_array_equal(stream(f"array_record:{tmp_path}/out"), stream(f"folder:{folder}"))
    # A pattern and a file need no index.
    assert len(open_source(f"array_record:{tmp_path}/out/*.array_record")) == 9
    assert len(open_source(f"array_record:{tmp_path}/out/pictures-00001-of-00002.array_record")) == 5


def test_broken_pictures_are_left_out_and_listed(folder, tmp_path, capsys):
    (folder / "a" / "4.jpg").write_bytes((folder / "a" / "4.jpg").read_bytes()[:300])
    index = pack(folder, tmp_path / "out", "--shards", "3")
    assert list(index["left_out"]) == ["a/4.jpg"] and "left out a/4.jpg" in capsys.readouterr().err
    assert sum(shard["records"] for shard in index["shards"]) == 8 == len(open_source(f"array_record:{tmp_path}/out"))


def test_shrinking_touches_only_larger_pictures(folder, tmp_path):
    pack(folder, tmp_path / "out", "--longest-side", "36")
    pack(folder, tmp_path / "whole", "--longest-side", "40")
    shrunken = open_source(f"array_record:{tmp_path}/out")
    assert [max(shrunken[i].shape) for i in range(9)] == [36] * 9
    assert shrunken[0].shape == (36, 27, 3)  # from 40 x 30
    assert open_source(f"array_record:{tmp_path}/whole")._records[0] == (folder / "a" / "0.png").read_bytes()


def test_a_killed_packing_goes_on_and_is_not_trained_on_before(folder, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tools.pack_array_record", str(folder), str(out), "--shards", "9", "--threads", "1"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(out.glob("pictures-*")) and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    if not (out / "index.json").exists():
        with pytest.raises(InputError, match="not packed to the end"):
            open_source(f"array_record:{out}")
    kept = {path: path.stat().st_ino for path in out.glob("pictures-*")}
    assert kept
    if (out / "packing.json").exists():  # what is whole but was not noted down yet is made again
        noted = {shard["file"] for shard in json.loads((out / "packing.json").read_text())["done"].values()}
        kept = {path: inode for path, inode in kept.items() if path.name in noted}
    pack(folder, out, "--shards", "9")
    assert {path: path.stat().st_ino for path in kept} == kept
    assert not list(out.glob(".*")) and not (out / "packing.json").exists()
    np.testing.assert_array_equal(stream(f"array_record:{out}"), stream(f"folder:{folder}"))


def test_a_lost_shard_of_a_begun_packing_is_made_again(folder, tmp_path):
    index = pack(folder, tmp_path / "out", "--shards", "3")
    done = {str(i): shard | {"left_out": {}} for i, shard in enumerate(index["shards"])}
    (tmp_path / "out" / "packing.json").write_text(json.dumps({"plan": index["plan"], "done": done}))
    (tmp_path / "out" / "index.json").unlink()
    (tmp_path / "out" / done["1"]["file"]).unlink()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(SystemExit, match="2"):
        main([str(folder), str(tmp_path / "out"), "--shards", "3"])
    (tmp_path / "out" / "mine.txt").unlink()
    assert pack(folder, tmp_path / "out", "--shards", "3") == index


@pytest.mark.parametrize(
    ("settings", "message"),
    [(["--shards", "2"], "shards was 3 and is 2"), (["--shards", "3", "--longest-side", "9"], "longest_side was None and is 9")],
)
def test_other_settings_need_another_folder(folder, tmp_path, capsys, settings, message):
    pack(folder, tmp_path / "out", "--shards", "3")
    with pytest.raises(SystemExit, match="2"):
        main([str(folder), str(tmp_path / "out"), *settings])
    assert message in capsys.readouterr().err


def test_other_files_are_left_alone(folder, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(SystemExit, match="2"):
        main([str(folder), str(tmp_path / "out")])
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_damaged_shards_are_refused_or_their_records_replaced(folder, tmp_path):
    index = pack(folder, tmp_path / "out", "--shards", "2")
    first, second = (tmp_path / "out" / shard["file"] for shard in index["shards"])
    record = (folder / index["shards"][0]["names"][2]).read_bytes()
    content = bytearray(first.read_bytes())
    content[content.find(record) + len(record) // 2] ^= 1
    first.write_bytes(content)
    source = open_source(f"array_record:{tmp_path}/out")
    np.testing.assert_array_equal(source[2], source[3])
    assert list(source.skipped) == [index["shards"][0]["names"][2]]
    assert "hash mismatch" in next(iter(source.skipped.values()))

    second.write_bytes(second.read_bytes()[:5000])
    with pytest.raises(InputError, match="cut short"):
        open_source(f"array_record:{tmp_path}/out")
    with pytest.raises(InputError, match="cut short"):
        open_source(f"array_record:{second}")
    with pytest.raises(InputError, match="no ArrayRecord files"):
        open_source(f"array_record:{tmp_path}/none-*")


def test_a_folder_that_cannot_be_written_is_one_message(folder, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for out, why in ((tmp_path / "file" / "out", "Not a directory"), (tmp_path / ("x" * 300), "File name too long")):
        with pytest.raises(SystemExit) as ended:
            main([str(folder), str(out)])
        assert ended.value.code == 2
        assert capsys.readouterr().err == f"error: {out} cannot be written: {why}\n"

"""Parquet files as people write them: bytes, or Hugging Face's struct; several files, several row groups."""

import io
import pickle
from concurrent.futures import ThreadPoolExecutor

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from asym_jax.data import parquet
from asym_jax.data.sources import open_source, split
from asym_jax.errors import InputError


def encoded(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4), number).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Rows 0..24 in two files; bytes in the column `jpg`, and of another meaning in `hash`."""
    for name, numbers in {"a": range(13), "b": range(13, 25)}.items():
        table = pyarrow.table({"hash": [b"x"] * len(numbers), "jpg": [encoded(i) for i in numbers], "label": list(numbers)})
        pyarrow.parquet.write_table(table, tmp_path / f"{name}.parquet", row_group_size=5)
    return tmp_path


def shown(source):
    return [int(source[i].mean()) for i in range(len(source))]


def test_rows_of_all_files_in_order(folder, monkeypatch):
    monkeypatch.setattr(parquet, "KEPT_GROUPS", 2)
    source = open_source(f"parquet:{folder}")
    assert shown(source) == list(range(25)) and len(source._kept) == 2
    assert [source.name(i) for i in (0, 12, 13, 24)] == [
        f"{folder}/{name}" for name in ("a.parquet[0]", "a.parquet[12]", "b.parquet[0]", "b.parquet[11]")
    ]
    assert shown(open_source(f"parquet:{folder}/b*#jpg")) == list(range(13, 25))
    training, held_out = split(source, 3)
    assert shown(training) == list(range(22)) and shown(held_out) == [22, 23, 24]
    with ThreadPoolExecutor(4) as pool:
        copy = pickle.loads(pickle.dumps(source))
        assert [int(picture.mean()) for picture in pool.map(copy.__getitem__, [*range(25), *range(25)])] == [*range(25)] * 2


def test_structs_and_broken_rows(tmp_path):
    rows = [{"bytes": encoded(7), "path": None}, None, {"bytes": b"broken", "path": "x"}, {"bytes": encoded(9), "path": "y"}]
    pyarrow.parquet.write_table(pyarrow.table({"text": ["t"] * 4, "photo": rows}), tmp_path / "a.parquet")
    source = open_source(f"parquet:{tmp_path}/a.parquet")
    assert shown(source) == [7, 9, 9, 9]
    assert list(source.skipped) == [f"{tmp_path}/a.parquet[{i}]" for i in (1, 2)]


def test_a_file_lost_after_opening_is_replaced(folder):
    source = open_source(f"parquet:{folder}")
    (folder / "a.parquet").unlink()
    assert [int(source[i].mean()) for i in (12, 20)] == [13, 20]


def test_what_cannot_be_read_is_an_input_error(folder, tmp_path):
    table = pyarrow.table({"x": [b"1"], "y": [b"2"], "z": [3]})
    pyarrow.parquet.write_table(table, tmp_path / "two.pq")
    pyarrow.parquet.write_table(table.select(["z"]), tmp_path / "none.pq")
    pyarrow.parquet.write_table(table.slice(0, 0), tmp_path / "empty.pq")
    (tmp_path / "text.pq").write_text("this is no Parquet file")
    for place, message in {
        "two.pq": r"several columns could hold pictures \(x, y\)",
        "none.pq": "no column holds encoded pictures.*it has z",
        "two.pq#w": "no column 'w'; it has x, y, z",
        "empty.pq#x": "no rows",
        "text.pq": "cannot be read as Parquet",
        "absent": "no Parquet files",
    }.items():
        with pytest.raises(InputError, match=message):
            open_source(f"parquet:{tmp_path}/{place}")

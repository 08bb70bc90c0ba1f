"""Data sets of TensorFlow Datasets, made and read without TensorFlow."""

import json
import pickle
import sys

import numpy as np
import pytest

from asym_jax.data.pictures import decode_picture
from asym_jax.data.prepared import open_prepared
from asym_jax.data.sources import open_source
from asym_jax.errors import InputError
from tests.data.tiny_pictures.tiny_pictures_dataset_builder import COUNTS, Builder, encoded


@pytest.fixture(scope="module", params=["array_record", "parquet"])
def root(request, tmp_path_factory):
    """A tfds data directory with one data set in it."""
    root = tmp_path_factory.mktemp(request.param)
    Builder(data_dir=str(root), file_format=request.param).download_and_prepare()
    assert "tensorflow" not in sys.modules
    return root


def contents(source):
    return sorted(source[i].tobytes() for i in range(len(source)))


def made(split):
    return sorted(decode_picture(encoded(split, i), "").tobytes() for i in range(COUNTS[split]))


def test_folders_names_and_splits(root, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(root))
    for place, split in {
        f"{root}/tiny_pictures/1.0.0": "train",
        f"{root}/tiny_pictures": "train",
        f"{root}/tiny_pictures/test": "test",
        "tiny_pictures": "train",
        "tiny_pictures/test": "test",
        "tiny_pictures:1.0.0": "train",
        "tiny_pictures/1.0.0/test": "test",
    }.items():
        assert contents(open_source(f"tfds:{place}")) == made(split), place


def test_the_newest_version_is_taken(root, tmp_path):
    for version in ("1.9.0", "1.10.0", "notes"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "dataset_info.json").touch()
    with pytest.raises(InputError, match="1.10.0 cannot be read as a data set of tfds"):
        open_prepared(str(tmp_path))


def test_a_copy_in_another_process_reads_the_same(root):
    source = open_prepared(f"{root}/tiny_pictures")
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy[4], source[4])
    assert repr(copy) == repr(source) and copy.name(4) == source.name(4) == f"{root}/tiny_pictures/1.0.0/train[4]"


def test_slices_are_exact_or_refused(root):
    if "parquet" in root.name:
        with pytest.raises(InputError, match="gives 6 examples for 'train.2:.' instead of 4"):
            open_prepared(f"{root}/tiny_pictures/train[2:]")
    else:
        whole, end = (open_prepared(f"{root}/tiny_pictures/{split}") for split in ("train", "train[2:]"))
        assert [end[i].tobytes() for i in range(4)] == [whole[i].tobytes() for i in range(2, 6)]


def test_what_is_not_there_is_an_input_error(root, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(root))
    with pytest.raises(InputError, match="no split 'val'; it has train, test|no split 'val'; it has test, train"):
        open_prepared("tiny_pictures/val")
    with pytest.raises(InputError, match="no prepared data set in .*imagenet2012 or in .*tfds build"):
        open_prepared("imagenet2012")


def test_tfrecords_are_refused_with_the_command_that_converts_them(root):
    folder = root / "tiny_pictures" / "1.0.0"
    info = json.loads((folder / "dataset_info.json").read_text())
    changed = root / "as_tfrecord" / "1.0.0"
    changed.mkdir(parents=True, exist_ok=True)
    (changed / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "tfrecord"}))
    (changed / "features.json").write_text((folder / "features.json").read_text())
    with pytest.raises(InputError, match="prepared as tfrecord") as caught:
        open_prepared(str(changed))
    assert f"tfds convert_format --dataset_version_dir={changed} --out_file_format=array_record" in str(caught.value)
    assert str(caught.value).endswith(f"tfds:{root}/as_tfrecord_array_record/1.0.0")

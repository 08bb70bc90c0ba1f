"""Hugging Face's `datasets` is optional: with it, its data sets are read; without it, one message says so."""

import sys

import numpy as np
import pytest
from PIL import Image

from asym_jax.data.sources import open_source
from asym_jax.errors import InputError


def test_without_the_library_one_message_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="pip install 'datasets<5'"):
        open_source("huggingface:owner/name")


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A data set of five pictures with the library, in a folder of its own, offline."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    pictures = [Image.new("RGB", (4, 4), (i, i, i)) for i in range(5)]
    features = datasets.Features({"label": datasets.Value("int64"), "photo": datasets.Image()})
    dataset = datasets.Dataset.from_dict({"label": list(range(5)), "photo": pictures}, features=features)
    datasets.DatasetDict({"train": dataset, "test": dataset.select([3, 4])}).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


def test_saved_data_sets_and_their_splits(saved):
    source = open_source(f"huggingface:{saved}")
    assert [int(source[i].mean()) for i in range(5)] == list(range(5))
    assert [int(open_source(f"huggingface:{saved}#test")[i].mean()) for i in range(2)] == [3, 4]
    with pytest.raises(InputError, match="no split 'val'; it has train, test"):
        open_source(f"huggingface:{saved}#val")


def test_an_object_of_the_library(saved):
    import datasets

    from asym_jax.data.hub_datasets import dataset_source

    dataset = datasets.load_from_disk(str(saved))["train"]
    source = dataset_source(dataset)
    np.testing.assert_array_equal(source[3], np.full((4, 4, 3), 3))
    assert repr(source) == repr(dataset_source(dataset))
    with pytest.raises(InputError, match="one split with random access"):
        dataset_source(dataset.to_iterable_dataset())
    with pytest.raises(InputError, match="no column of pictures; it has label"):
        dataset_source(dataset.select_columns(["label"]))

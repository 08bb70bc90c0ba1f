"""Files that torch wrote, against what torch reads in them."""

import argparse
import os
import struct
import sys
import tracemalloc
import types
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest

from asym_jax.errors import InputError
from asym_jax.weights.files.torch_pickle import read_torch
from tests.weights.files import forged


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def is_zip(request):
    return request.param


@pytest.fixture
def save(pytorch, tmp_path, is_zip):
    def write(content, name="file.bin"):
        pytorch.torch.save(content, tmp_path / name, _use_new_zipfile_serialization=is_zip)
        return tmp_path / name

    return write


def test_tensors_come_back_bit_by_bit(pytorch, save, is_zip):
    torch = pytorch.torch
    base = torch.randn(6, 4)
    tensors = OrderedDict(
        float32=base,
        transposed=base.T,  # these three share one storage
        corner=base[2:5, 1:3],
        every_second=base[::2],
        scalar=torch.tensor(3.5),
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(torch.randn(3)),
        expanded=torch.tensor([7.0]).expand(2, 3),
        float16=torch.randn(5).half(),
        bfloat16=torch.randn(5).bfloat16(),
        float64=torch.randn(5).double(),
        int64=torch.tensor([-(2**60), 1]),
        uint8=torch.tensor([0, 255], dtype=torch.uint8),
        truth=torch.tensor([True, False]),
    )
    tensors._metadata = {"": {"version": 1}}  # as the state_dict of a module has
    read = read_torch(save(tensors))
    assert list(read.tensors) == list(tensors)
    assert read.format == ("PyTorch (zip)" if is_zip else "PyTorch (legacy)")
    for name, tensor in tensors.items():
        stored = read.tensors[name]
        assert str(tensor.dtype).removeprefix("torch.") == stored.dtype.name
        array, tensor = np.asarray(stored), tensor.detach()
        if name == "bfloat16":
            array, tensor = array.astype(np.float32), tensor.float()
        np.testing.assert_array_equal(array, tensor.numpy(), err_msg=name)


class Harm:
    """Runs a shell command when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_code_is_refused_by_name_and_not_run(pytorch, save, tmp_path):
    harmful = save({"weight": pytorch.torch.zeros(2), "extra": Harm(tmp_path / "marker")})
    with pytest.raises(InputError, match=r"file\.bin.*posix\.system"):
        read_torch(harmful)
    assert not (tmp_path / "marker").exists()
    pytorch.torch.load(harmful, weights_only=False)
    assert (tmp_path / "marker").exists()  # the file was indeed harmful


def test_other_functions_of_torch_are_refused(pytorch, save):
    with pytest.raises(InputError, match=r"torch\.nn\.modules\.linear\.Linear"):
        read_torch(save(pytorch.torch.nn.Linear(2, 2)))


def test_truncated_files_are_refused(pytorch, save, tmp_path, is_zip):
    whole = save({"a": pytorch.torch.randn(40), "b": pytorch.torch.randn(30)}).read_bytes()
    cut = tmp_path / "cut.bin"
    for length in (0, 1, 3, 4, 12, 40, 200, len(whole) // 2, len(whole) - 130, len(whole) - 4, len(whole) - 1):
        cut.write_bytes(whole[:length])
        with pytest.raises(InputError, match="cut.bin"):
            read_torch(cut)
    if not is_zip:  # where every storage repeats its length
        cut.write_bytes(whole.replace(struct.pack("<q", 40), struct.pack("<q", 39)))
        with pytest.raises(InputError, match="39 numbers, and 40 were announced"):
            read_torch(cut)


BEYOND, MISDESCRIBED = "reaches beyond the end", "described by something else"


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "reason"),
    [
        (0, (10,), (1,), None),
        (0, (3, 2), (4, 1), None),
        (0, (1, 10), (2**62, 1), None),
        (1, (10,), (1,), BEYOND),
        (1, (3, 2), (4, 2), BEYOND),
        (10, (), (), BEYOND),
        (2**62, (1,), (1,), BEYOND),
        (0, (2**40,), (1,), BEYOND),
        (-1, (2,), (1,), MISDESCRIBED),
        (9, (2,), (-1,), MISDESCRIBED),
        (0, (2, 2), (1,), MISDESCRIBED),
        (0.5, (2,), (1,), MISDESCRIBED),
    ],
)
def test_tensors_that_leave_their_storage_are_refused(pytorch, save, offset, shape, strides, reason):
    storage = pytorch.torch.arange(10.0)._typed_storage()

    class Forged:
        def __reduce__(self):
            return pytorch.torch._utils._rebuild_tensor_v2, (storage, offset, shape, strides, False, OrderedDict())

    forged = save({"weight": Forged()})
    if reason is None:
        first = np.asarray(read_torch(forged).tensors["weight"])
        assert first.shape == shape and first.flat[0] == 0 and first.flat[-1] == 9
    else:
        with pytest.raises(InputError, match=rf"file\.bin.*{reason}"):
            read_torch(forged)


@pytest.mark.parametrize(("content", "found"), [([1, 2], "list"), ({"epoch": 3}, "'epoch': int"), ({"model": {}}, "'model': dict")])
def test_other_content_is_refused(save, content, found):
    with pytest.raises(InputError, match=found):
        read_torch(save(content))


def test_other_files_are_refused(tmp_path, is_zip):
    path = tmp_path / "file.bin"
    if is_zip:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "hello")
    else:
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="file.bin"):
        read_torch(path)


@pytest.fixture
def lightning(monkeypatch):
    """A class in a package called pytorch_lightning, which need not be installed."""
    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = type("ModelCheckpoint", (dict,), {"__module__": module.__name__})
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks", module.__name__):
        monkeypatch.setitem(sys.modules, name, module)
    return module


def test_a_training_checkpoint(pytorch, save, lightning):
    """Of what Lightning saves, the weights are read, and the rest is listed."""
    torch = pytorch.torch
    model = torch.nn.Linear(3, 2)
    optimiser = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    hyper_parameters = argparse.Namespace(
        folder=Path("a/b"),
        sizes=defaultdict(list, a=[1]),
        names={"x", "y"},
        raw=b"\x00\xff",
        dtype=torch.float32,
        device=torch.device("cpu"),
    )
    numbers = {
        "best": np.float64(0.5),
        "array": np.arange(3),
        "size": torch.Size([2, 3]),
        "huge": 2**70,
        "nothing": None,
        "rate": 0.5,
    }
    callback = lightning.ModelCheckpoint(monitor="loss")
    beside = {
        "epoch": 3,
        "optimizer_states": [optimiser.state_dict()],
        "callbacks": {lightning.ModelCheckpoint: numbers, "other": callback},
        "hyper_parameters": hyper_parameters,
    }
    read = read_torch(save({"epoch": 3, "state_dict": model.state_dict(), **beside}))
    assert read.left_out == tuple(beside)
    assert list(read.tensors) == ["weight", "bias"]
    np.testing.assert_array_equal(read.tensors["weight"], model.weight.detach().numpy())


def test_text_of_python_2(tmp_path):
    """There, names are bytes, and the entries of an OrderedDict are its only argument."""
    name = b"U\x06weight"
    content = forged.pickled(
        forged.ORDERED_DICT[:-2] + b"(](](" + name + forged.tensor(forged.storage("0", "FloatStorage", 6, b"N")) + b"eetR"
    )
    other = forged.storage_list("0") + forged.legacy_storage("0")
    read = read_torch(forged.write(tmp_path, forged.MAGIC + forged.VERSION + forged.MACHINE + content + other))
    np.testing.assert_array_equal(read.tensors["weight"], [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize("whole", [forged.whole_zip, forged.whole_legacy])
def test_forged_files_are_read_as_torch_reads_them(pytorch, tmp_path, whole):
    """So what the other tests change in them was right before."""
    path = forged.write(tmp_path, whole())
    expected, read = pytorch.torch.load(path), read_torch(path).tensors
    assert list(read) == list(expected) == ["first", "turned", "second"]
    for name, tensor in expected.items():
        np.testing.assert_array_equal(read[name], tensor.numpy())


def test_nothing_is_read_before_it_is_asked_for(pytorch, save):
    """The file may grow far beyond the memory: only its description is read."""
    path = save({"weight": pytorch.torch.zeros(2**24)})
    tracemalloc.start()
    read = read_torch(path)
    assert tracemalloc.get_traced_memory()[1] < 2**18
    assert np.asarray(read.tensors["weight"]).size == 2**24
    assert tracemalloc.get_traced_memory()[1] < 2**18
    tracemalloc.stop()

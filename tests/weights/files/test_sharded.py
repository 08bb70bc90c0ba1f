import json

import numpy as np
import pytest
from flax.serialization import to_bytes
from safetensors.numpy import save_file

from asym_jax.weights.files.formats import read_tensors
from tests.weights.files.refusal import assert_refused

FIRST, SECOND = "x-00001-of-00002.safetensors", "x-00002-of-00002.safetensors"
ARRAYS = {"a": np.arange(6, dtype=np.float32), "b": np.arange(4, dtype=np.float16), "c": np.ones((2, 2), np.int8)}
WHERE = {"a": FIRST, "b": FIRST, "c": SECOND}


@pytest.fixture
def index(tmp_path):
    """Two files; their index is to be written."""
    for shard in (FIRST, SECOND):
        save_file({name: array for name, array in ARRAYS.items() if WHERE[name] == shard}, tmp_path / shard)
    (tmp_path / "x.flax").write_bytes(to_bytes({"c": ARRAYS["c"]}))
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.index.json").write_text(json.dumps({"weight_map": WHERE}))
    return tmp_path / "x.safetensors.index.json"


def test_tensors_of_all_parts(index):
    index.write_text(json.dumps({"metadata": {"total_size": 36}, "weight_map": WHERE}))
    content = read_tensors(index)
    assert content.format == "safetensors in 2 parts" and set(content.tensors) == set(ARRAYS)
    assert all(np.array_equal(np.asarray(tensor), ARRAYS[name]) for name, tensor in content.tensors.items())


def test_parts_of_other_kinds(index):
    index.write_text(json.dumps({"weight_map": WHERE | {"c": "x.flax"}}))
    assert np.array_equal(np.asarray(read_tensors(index).tensors["c"]), ARRAYS["c"])


def test_indices_of_diffusers(pytorch, torch_symmetric, tmp_path):
    torch_symmetric.save_pretrained(tmp_path, max_shard_size="300KB")
    content = read_tensors(tmp_path / "diffusion_pytorch_model.safetensors.index.json")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    expected = torch_symmetric.state_dict()
    assert set(content.tensors) == set(expected)
    assert all(np.array_equal(np.asarray(tensor), expected[name].numpy()) for name, tensor in content.tensors.items())


NOT_BESIDE, NO_MAP, NO_JSON = "which is not a file with tensors beside it", "has no weight_map", "is not readable as JSON"
SHARDS = {
    "upwards": ("../x.safetensors", NOT_BESIDE),
    "the folder above": ("..", NOT_BESIDE),
    "the folder itself": (".", NOT_BESIDE),
    "hidden": (".x.safetensors", NOT_BESIDE),
    "absolute": ("/etc/passwd", NOT_BESIDE),
    "deeper": ("folder/x.safetensors", NOT_BESIDE),
    "trailing slash": (FIRST + "/", NOT_BESIDE),
    "backslash": ("folder\\x.safetensors", NOT_BESIDE),
    "empty": ("", NOT_BESIDE),
    "zero": ("x\0.safetensors", NOT_BESIDE),
    "terminal codes": ("\x1b[2J", NOT_BESIDE),
    "endless": ("x" * 10_000, NOT_BESIDE),
    "the index itself": ("x.safetensors.index.json", NOT_BESIDE),
    "another index": ("other.index.json", NOT_BESIDE),
    "missing": ("y.safetensors", r"names y\.safetensors, and there is no "),
    "folder": ("folder", r"names folder, and there is no "),
    "the wrong one": (FIRST, "do not agree on c$"),
    "number": (1, NO_MAP),
    "nothing": (None, NO_MAP),
    "list": ([FIRST], NO_MAP),
}


@pytest.mark.parametrize("kind", SHARDS)
def test_hostile_names_of_parts(kind, index):
    shard, reason = SHARDS[kind]
    index.write_text(json.dumps({"weight_map": WHERE | {"c": shard}}))
    assert_refused(read_tensors, index, reason)


TEXTS = {
    "no JSON": ("{", NO_JSON),
    "empty": ("", NO_JSON),
    "binary": ("\0\1\2", NO_JSON),
    "deep": ("[" * 100_000, NO_JSON),
    "deep objects": ('{"weight_map":' * 100_000, NO_JSON),
    "endless number": ('{"weight_map": ' + "9" * 100_000 + "}", NO_JSON),
    "name twice": (f'{{"weight_map": {{"a": "{FIRST}", "a": "{SECOND}"}}}}', "it holds 'a' twice"),
    "list": ("[]", NO_MAP),
    "no map": ("{}", NO_MAP),
    "empty map": ('{"weight_map": {}}', NO_MAP),
    "list as map": ('{"weight_map": ["a"]}', NO_MAP),
    "huge": ('{"weight_map": {}}' + " " * 2**23, "has more than 8,388,608 bytes"),
    "unknown tensor": (json.dumps({"weight_map": WHERE | {"d": FIRST}}), "do not agree on d$"),
    "forgotten tensor": (json.dumps({"weight_map": {"a": FIRST, "c": SECOND}}), "do not agree on b$"),
    "terminal codes": (json.dumps({"weight_map": WHERE | {"\x1b[2J": FIRST}}), NOT_BESIDE),
    "many names": (
        json.dumps({"weight_map": WHERE | {f"n{n}": FIRST for n in range(5_000)}}),
        r"do not agree on n0, n1, n10, n100 \.\.\.$",
    ),
    "many parts": (json.dumps({"weight_map": {f"n{n}": f"y{n}" for n in range(5_000)}}), "names y0, and there is no"),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_hostile_indices(kind, index):
    content, reason = TEXTS[kind]
    index.write_text(content)
    assert_refused(read_tensors, index, reason)


def test_damaged_parts_are_named(index):
    index.write_text(json.dumps({"weight_map": WHERE}))
    part = index.parent / SECOND
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(Exception, match=rf"^{part} is damaged"):
        read_tensors(index)

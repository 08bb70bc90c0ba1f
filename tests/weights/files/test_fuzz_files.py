"""Valid files, damaged at random: every one is refused with `InputError`, or can be read to its last number.

Whoever changes a reader runs the long variant too: `pytest -m slow tests/weights/test_fuzz_files.py`.
"""

import dataclasses
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax.serialization import to_bytes
from flax.traverse_util import flatten_dict
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from asym_jax.errors import InputError
from asym_jax.models.autoencoder import AsymmetricAutoencoderKL, AutoencoderKL
from asym_jax.models.vq import VQModel
from asym_jax.weights import naming
from asym_jax.weights.architecture import abstract_params, config_of, model_of, read_config
from asym_jax.weights.convert import to_torch_axes
from asym_jax.weights.files.formats import read_tensors
from asym_jax.weights.files.stored import contiguous
from asym_jax.weights.inferred import infer_config
from asym_jax.weights.names import torch_name
from asym_jax.weights.official import to_official
from tests.weights.files.forged import whole_legacy, whole_zip
from tests.weights.files.refusal import within

PHASES = (Phase.generate, Phase.shrink)
LONG = pytest.param(10_000, marks=pytest.mark.slow)
few_or_many = pytest.mark.parametrize("examples", [150, LONG], ids=["short", "long"])

ARRAYS = {
    "encoder.conv_in.weight": np.arange(12, dtype=np.float32).reshape(3, 2, 2, 1),
    "b": np.ones((), np.int8),
    "c": np.ones((0, 2), np.float16),
    "d": np.arange(3).astype(jnp.bfloat16),
}
INDEX = {"metadata": {"total_size": 55}, "weight_map": {name: f"x-{number % 2}.bin" for number, name in enumerate(ARRAYS)}}
SHARDS = [save({name: array for number, (name, array) in enumerate(ARRAYS.items()) if number % 2 == half}) for half in (0, 1)]
FILES = {
    "safetensors": {"x.bin": save(ARRAYS, {"config": "{}"})},
    "flax": {
        "x.bin": to_bytes(
            {"outer": {name: array for name, array in ARRAYS.items()}, "inner": {"deep": {"e": np.ones(70, np.int8)}}}
        )
    },
    "zip": {"x.bin": whole_zip()},
    "legacy": {"x.bin": whole_legacy()},
    "index": {"x.index.json": json.dumps(INDEX).encode(), "x-0.bin": SHARDS[0], "x-1.bin": SHARDS[1]},
}

positions = st.integers(0, 2**16)
pieces = st.binary(min_size=1, max_size=9) | st.sampled_from(
    [b"\xff" * 8, bytes(8), b"\x7f" + b"\xff" * 3, b"[" * 64, b"\x91" * 64, b'"', b"-1", b"NaN"]
)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), positions, st.integers(0, 7)),
        st.tuples(st.just("write"), positions, pieces),
        st.tuples(st.just("insert"), positions, pieces),
        st.tuples(st.just("delete"), positions, st.integers(1, 40)),
        st.tuples(st.just("copy"), positions, positions),
    ),
    min_size=1,
    max_size=4,
)


def damaged(content: bytes, edits: list[tuple]) -> bytes:
    for kind, position, what in edits:
        at = position % (len(content) or 1)
        if kind == "flip" and content:
            content = content[:at] + bytes([content[at] ^ 1 << what]) + content[at + 1 :]
        elif kind == "write":
            content = content[:at] + what + content[at + len(what) :]
        elif kind == "insert":
            content = content[:at] + what + content[at:]
        elif kind == "delete":
            content = content[:at] + content[at + what :]
        elif kind == "copy":
            start = what % (len(content) or 1)
            content = content[:at] + content[start : start + 30] + content[at:]
    return content


def fuzzing(examples: int):
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
    )


def read_to_the_end(path: Path) -> bool:
    """Whether the file is accepted."""
    try:
        content = read_tensors(path)
    except InputError as refusal:
        message = str(refusal)
        assert str(path.parent) in message and message.isprintable() and len(message) < 2_000
        return False
    for name, tensor in content.tensors.items():
        assert name.isprintable() and tensor.end <= tensor.path.stat().st_size
        array = np.asarray(tensor)
        assert (array.shape, array.dtype, array.size) == (tensor.shape, tensor.dtype, tensor.size)
        array.tobytes()
    return True


@few_or_many
@pytest.mark.parametrize("kind", FILES)
def test_damaged_weights(kind, examples, tmp_path):
    files = FILES[kind]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    first = tmp_path / next(iter(files))
    assert read_to_the_end(first)
    accepted = []

    @fuzzing(examples)
    @given(st.sampled_from(sorted(files)), changes)
    def check(name, edits):
        (tmp_path / name).write_bytes(damaged(files[name], edits))
        with within(5):
            accepted.append(read_to_the_end(first))
        (tmp_path / name).write_bytes(files[name])

    check()
    assert len(set(accepted)) == 2  # damaged numbers are still numbers


MODELS = (
    AutoencoderKL((32, 64), 1, norm_num_groups=32),
    AsymmetricAutoencoderKL((32,), 1, (64,), 1, blend="concatenate"),
    VQModel((32,), 1, num_vq_embeddings=5, vq_embed_dim=3, latent_channels=4, mid_block_add_attention=False),
)


@few_or_many
def test_damaged_configs(examples, tmp_path):
    path = tmp_path / "config.json"

    @fuzzing(examples)
    @given(st.sampled_from(MODELS), changes)
    def check(model, edits):
        path.write_bytes(damaged(json.dumps(config_of(model)).encode(), edits))
        with within(5):
            try:
                found = read_config(path, dtype=jnp.float32)
            except InputError as refusal:
                assert str(refusal).startswith(f"{path} ") and str(refusal).isprintable() and len(str(refusal)) < 2_000
            else:
                assert dataclasses.asdict(found).keys() in [dataclasses.asdict(model).keys() for model in MODELS]
                assert read_config(path, dtype=jnp.float32) == model_of(
                    json.loads(json.dumps(config_of(found))), source="x", dtype=jnp.float32
                )

    check()


def stored(shape):
    return contiguous(Path("x"), 0, np.dtype(np.float32), tuple(shape))


def shapes_of(model, form):
    """Names and shapes of a file with `model`."""
    leaves = flatten_dict(abstract_params(model))
    if form == "flax":
        return {"/".join(keys): leaf.shape for keys, leaf in leaves.items()}
    arrays = {
        torch_name(keys): np.broadcast_to(np.float32(0), tuple(leaf.shape[axis] for axis in to_torch_axes(keys, len(leaf.shape))))
        for keys, leaf in leaves.items()
    }
    return {name: array.shape for name, array in (to_official(arrays) if form == "official" else arrays).items()}


@pytest.mark.parametrize(
    ("form", "one", "other"),
    [
        ("flax", "encoder/conv_norm_out/scale", "encoder/conv_norm_out/kernel"),
        ("official", "decoder.up.0.block.1.conv1.bias", "decoder.up.00.block.1.conv1.bias"),
        ("diffusers", "encoder.mid_block.attentions.0.to_q.bias", "encoder.mid_block.attentions.0.query.bias"),
    ],
)
def test_two_names_of_one_tensor(form, one, other):
    tensors = {name: stored(shape) for name, shape in shapes_of(MODELS[0], form).items()}
    naming.canonical(tensors, source="the file")
    with pytest.raises(InputError, match="^the file .*(under another name|under its old and under its new name)"):
        naming.canonical(tensors | {other: tensors[one]}, source="the file")


numbers = st.integers(0, 2**40) | st.sampled_from([0, 1, 3, 4, 32, 64, 2**14, 2**31])
shapes = st.lists(numbers, max_size=5)
texts = st.sampled_from(
    ["weight", "kernel", "0", "00", "1", "63", "9" * 50, "-1", "attentions", "resnets", "up", "", "conv_in", "\u0663", "loss"]
)
tensor_changes = st.lists(
    st.one_of(
        st.tuples(st.just("drop"), positions, st.just(0)),
        st.tuples(st.just("shape"), positions, shapes),
        st.tuples(st.just("part"), positions, st.tuples(positions, texts)),
        st.tuples(st.just("extra"), positions, st.tuples(positions, texts)),
        st.tuples(st.just("keep"), st.integers(1, 40), st.just(0)),
    ),
    max_size=5,
)


def edited(tensors, edits):
    for kind, position, what in edits:
        names = list(tensors)
        if not names:
            break
        name = names[position % len(names)]
        tensors = dict(tensors)
        if kind == "drop":
            del tensors[name]
        elif kind == "shape":
            tensors[name] = what
        elif kind == "keep":
            tensors = {name: tensors[name] for name in names[::position]}
        else:
            divider = "/" if "/" in name else "."
            parts = name.split(divider)
            parts[what[0] % len(parts)] = what[1]
            tensors[divider.join(parts)] = tensors[name] if kind == "extra" else tensors.pop(name)
    return tensors


@few_or_many
def test_tensors_of_any_names_and_shapes(examples):
    """Either they are refused, or they describe a model that can be built."""
    built = set()
    bases = {(type(model).__name__, form): shapes_of(model, form) for model in MODELS for form in ("diffusers", "official", "flax")}

    @fuzzing(examples)
    @given(st.sampled_from(sorted(bases)), tensor_changes)
    def check(base, edits):
        try:
            tensors = {name: stored(shape) for name, shape in edited(bases[base], edits).items()}
            with within(5):
                found = naming.canonical(tensors, source="the file")
                assert len(found.tensors) + sum(found.dropped.values()) == len(tensors)
                model = model_of(infer_config(found.tensors, source="the file"), source="the file", dtype=jnp.float32)
        except InputError as refusal:
            assert len(str(refusal)) < 2_000
            return
        if model not in built and len(built) < examples / 30:
            built.add(model)
            with within(30):
                assert "encoder" in abstract_params(model)

    check()
    assert len(built) >= len(MODELS)

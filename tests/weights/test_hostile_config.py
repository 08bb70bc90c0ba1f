"""Configs made to harm: each is refused in one line, in bounded time and memory."""

import json
import os

import jax.numpy as jnp
import pytest

from asym_jax.errors import InputError
from asym_jax.weights.architecture import abstract_params, read_config
from tests.weights.files.refusal import assert_refused, within

SMALL = {
    "_class_name": "AsymmetricAutoencoderKL",
    "down_block_out_channels": [32, 64],
    "up_block_out_channels": [32, 96],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
}
NO_JSON, NO_CLASS, IMPOSSIBLE = "is not readable as JSON", "has _class_name", "describes an autoencoder that cannot be built here"
HUGE = 10**9

FIVE = ("latent_channels", "norm_num_groups", "sample_size", "scaling_factor", "layers_per_up_block")

KEYS = {
    "layers without end": ({"layers_per_up_block": HUGE}, "layers_per_up_block is 1000000000"),
    "no layers": ({"layers_per_down_block": 0}, "layers_per_down_block is 0"),
    "negative layers": ({"layers_per_down_block": -1}, "layers_per_down_block is -1"),
    "half a layer": ({"layers_per_down_block": 1.5}, "layers_per_down_block is 1.5"),
    "layers NaN": ({"layers_per_down_block": float("nan")}, "layers_per_down_block is nan"),
    "layers that are a list": ({"layers_per_down_block": [1]}, r"layers_per_down_block is \[1\]"),
    "no layers given": ({"layers_per_down_block": None}, "layers_per_down_block is None"),
    "width zero": ({"down_block_out_channels": [32, 0]}, "down_block_out_channels.1 is 0"),
    "negative width": ({"down_block_out_channels": [-32, 64]}, "down_block_out_channels.0 is -32"),
    "width without end": ({"down_block_out_channels": [32, 2**40]}, "down_block_out_channels.1 is 1099511627776"),
    "width beyond all integers": ({"down_block_out_channels": [32, 10**400]}, "down_block_out_channels.1 is 1000"),
    "no widths": ({"down_block_out_channels": []}, r"down_block_out_channels is \[\]"),
    "widths that are a number": ({"down_block_out_channels": 64}, "down_block_out_channels is 64"),
    "widths that are text": ({"down_block_out_channels": "3264"}, "down_block_out_channels is '3264'"),
    "widths that are an object": ({"down_block_out_channels": {"0": 32}}, "down_block_out_channels is {'0': 32}"),
    "levels without end": ({"down_block_out_channels": [32] * 100_000}, "down_block_out_channels is .*at most 10 items"),
    "wrong widths without end": ({"down_block_out_channels": ["x"] * 100_000}, "down_block_out_channels"),
    "types without end": ({"down_block_types": ["x"] * 50_000}, "down_block_types.0 is 'x'"),
    "known types without end": ({"down_block_types": ["DownEncoderBlock2D"] * 40_000}, "same number of levels"),
    "many mistakes": (
        {"act_fn": "x", "in_channels": 1, "out_channels": 1} | {name: "x" * 9_999 for name in FIVE},
        "in_channels is 1",
    ),
    "endless type": ({"up_block_types": ["x" * 500_000]}, "up_block_types.0 is 'xxx"),
    "type with terminal codes": ({"up_block_types": ["\x1b[2J\n"]}, r"up_block_types.0 is '\\x1b\[2J\\n'"),
    "latents without end": ({"latent_channels": HUGE}, "latent_channels is 1000000000"),
    "no groups": ({"norm_num_groups": 0}, "norm_num_groups is 0"),
    "groups without end": ({"norm_num_groups": HUGE}, "norm_num_groups is 1000000000"),
    "groups that do not divide": ({"norm_num_groups": 7}, "are no multiples of norm_num_groups=7"),
    "scaling NaN": ({"scaling_factor": float("nan")}, "scaling_factor is nan"),
    "scaling infinite": ({"scaling_factor": float("inf")}, "scaling_factor is inf"),
    "scaling that is text": ({"scaling_factor": "much"}, "scaling_factor is 'much'"),
    "nested size": ({"sample_size": [[[1]]]}, r"sample_size is \[\[1\]\]"),
    "other activation": ({"act_fn": "gelu"}, "act_fn is 'gelu'"),
    "four colours": ({"in_channels": 4}, "in_channels is 4"),
    "unknown class": ({"_class_name": "UNet2DConditionModel"}, NO_CLASS),
    "class that is a path": ({"_class_name": "../../x"}, NO_CLASS),
    "class of Python": ({"_class_name": "__class__"}, NO_CLASS),
    "class that is a list": ({"_class_name": ["AutoencoderKL"]}, NO_CLASS),
    "class that is nothing": ({"_class_name": None}, NO_CLASS),
    "class with terminal codes": ({"_class_name": "\x1b[2J"}, r"has _class_name '\\x1b\[2J'"),
    "endless class": ({"_class_name": "x" * 900_000}, NO_CLASS),
}


@pytest.mark.parametrize("kind", KEYS)
def test_values_that_no_autoencoder_has(kind, tmp_path):
    keys, reason = KEYS[kind]
    (tmp_path / "config.json").write_text(json.dumps(SMALL | keys))
    assert_refused(read, tmp_path / "config.json", reason)


def read(path):
    return read_config(path, dtype=jnp.float32)


TEXTS = {
    "no JSON": (b"{", NO_JSON),
    "empty": (b"", NO_JSON),
    "binary": (bytes(100), NO_JSON),
    "no UTF-8": (b'{"_class_name": "\xff"}', NO_JSON),
    "web page": (b"<html>", NO_JSON),
    "number": (b"1", NO_CLASS),
    "list": (json.dumps([SMALL]).encode(), NO_CLASS),
    "text": (b'"AutoencoderKL"', NO_CLASS),
    "nothing": (b"null", NO_CLASS),
    "no class": (b"{}", NO_CLASS),
    "endless number": (b'{"a": ' + b"9" * 100_000 + b"}", NO_JSON),
    "more than a megabyte": (json.dumps(SMALL | {"note": "x" * 2**20}).encode(), "has more than 1,048,576 bytes"),
    "key twice": (json.dumps(SMALL)[:-1].encode() + b', "_class_name": "AutoencoderKL"}', "holds '_class_name' twice"),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_files_that_are_no_config(kind, tmp_path):
    content, reason = TEXTS[kind]
    (tmp_path / "config.json").write_bytes(content)
    assert_refused(read, tmp_path / "config.json", reason)


@pytest.mark.parametrize("key", ["_class_name", "scaling_factor", "down_block_types", "sample_size", "note"])
def test_nesting_of_every_depth(key, tmp_path):
    """Some depths can be read and not be shown."""
    for depth in (*range(1, 1_100, 7), 50_000):
        others = json.dumps({name: value for name, value in SMALL.items() if name != key})
        (tmp_path / "config.json").write_text(f'{{"{key}": {"[" * depth}{"]" * depth}, {others[1:]}')
        try:
            read(tmp_path / "config.json")
        except InputError as error:
            assert str(error).isprintable() and len(str(error)) < 700
        else:
            assert key == "note"


def test_what_is_no_file(tmp_path):
    path = tmp_path / "config.json"
    os.mkfifo(path)
    assert_refused(read, path, "is no file")
    path.unlink()
    path.symlink_to("/dev/zero")
    assert_refused(read, path, "is no file")


@pytest.mark.slow
def test_the_largest_that_is_accepted_can_be_described(tmp_path):
    """No config within the bounds keeps a machine busy."""
    levels = 10
    (tmp_path / "config.json").write_text(
        json.dumps(
            SMALL
            | {"down_block_out_channels": [2**14] * levels, "up_block_out_channels": [2**14] * levels}
            | {"layers_per_down_block": 16, "layers_per_up_block": 16, "latent_channels": 2**14, "norm_num_groups": 2**14}
            | {"down_block_types": ["AttnDownEncoderBlock2D"] * levels, "up_block_types": ["AttnUpDecoderBlock2D"] * levels}
        )
    )
    with within(60):
        params = abstract_params(read(tmp_path / "config.json"))
    assert params["decoder"]["conv_out"]["kernel"].shape == (3, 3, 2**14, 3)

"""What the card of a run says of its last measurement."""

import jax
import pytest

from asym_jax.config import TrainConfig
from asym_jax.models.autoencoder import AutoencoderKL
from asym_jax.training.export import card_of, last_measurement
from asym_jax.weights.card import write_card

OLD = '{"step": 1, "loss/pixel": 3.0, "held_out/l1": 0.5}\n'
NEW = '{"step": 2, "held_out/l1": 0.25, "held_out/lpips": null}\n'
FOUND = {
    "no file": (None, {}),
    "nothing measured": ('{"step": 1, "loss/pixel": 3.0}\n', {}),
    "the newest": (OLD + NEW + '{"step": 3, "loss/pixel": 2.0}\n', {"l1": 0.25}),
    "a half-written last line": (OLD + '{"step": 2, "held_out/l1": 0.', {"l1": 0.5}),
    "zeroes after a power cut": (OLD + "\0\0\0", {"l1": 0.5}),
    "a number, no record": (OLD + "2", {"l1": 0.5}),
    "an old value is not passed off as new": (OLD + '{"step": 2, "held_out/l1": null}\n', {}),
}


@pytest.mark.parametrize(("content", "expected"), FOUND.values(), ids=FOUND)
def test_the_last_measurement(tmp_path, content, expected):
    if content is not None:
        (tmp_path / "metrics.jsonl").write_text(content)
    assert last_measurement(tmp_path / "metrics.jsonl") == expected


def test_a_card_is_written_where_nothing_was_finite(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 2, "held_out/l1": null}\n')
    params = {"encoder": {"bias": jax.ShapeDtypeStruct((7,), "float32")}}
    write_card(tmp_path / "README.md", AutoencoderKL(), card_of(TrainConfig(), 2, tmp_path / "metrics.jsonl"), params=params)
    assert "None" not in (tmp_path / "README.md").read_text()

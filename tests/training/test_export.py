"""What the card of a run says of its last measurement, and decoders of runs that were stopped."""

import jax
import numpy as np
import pytest

from asym_jax import checkpoint
from asym_jax.config import TrainConfig
from asym_jax.errors import InputError
from asym_jax.models.autoencoder import AutoencoderKL
from asym_jax.training.export import card_of, last_measurement, main
from asym_jax.training.lock import Lock
from asym_jax.training.networks import build, fresh_decoder
from asym_jax.weights import load_pretrained
from asym_jax.weights.card import write_card
from tests.training.tiny import save_vae, tiny_config

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
    assert last_measurement(tmp_path / "metrics.jsonl", 3) == expected


def test_a_checkpoint_is_not_praised_for_what_came_later(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(OLD + NEW)
    assert [last_measurement(tmp_path / "metrics.jsonl", step) for step in range(3)] == [{}, {"l1": 0.5}, {"l1": 0.25}]


def test_a_card_is_written_where_nothing_was_finite(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 2, "held_out/l1": null}\n')
    params = {"encoder": {"bias": jax.ShapeDtypeStruct((7,), "float32")}}
    write_card(tmp_path / "README.md", AutoencoderKL(), card_of(TrainConfig(), 2, tmp_path / "metrics.jsonl"), params=params)
    assert "None" not in (tmp_path / "README.md").read_text()


def full(shapes, value: float):
    return jax.tree.map(lambda leaf: np.full(leaf.shape, value, np.float32), shapes)


@pytest.fixture
def stopped(tmp_path):
    """A run with checkpoints of steps 2 and 4, whose decoders are all 2 and 4, and their averages 0.5 more."""
    config = tiny_config(save_vae(tmp_path / "vae", (8,)), (8,))
    networks, _, _ = build(config)
    shapes = jax.eval_shape(lambda: fresh_decoder(networks.model, jax.random.key(0)))
    with checkpoint.open_folder(tmp_path / "run" / "checkpoints", checkpoint.Keep(2)) as there:
        for step in (2, 4):
            decoder, average = (full(shapes, value) for value in (step, step + 0.5))
            there.save(step, jax.device_put({"decoder": decoder, "average": average}), config.model_dump(mode="json"))
    return tmp_path / "run"


def values(place) -> set[float]:
    """All that there are in the decoder."""
    return {float(value) for leaf in jax.tree.leaves(load_pretrained(place)[1]["decoder"]) for value in np.unique(leaf)}


def test_the_average_of_a_checkpoint_is_written(stopped, tmp_path, capsys):
    main([str(stopped)])
    assert values(stopped / "decoder") == {4.5} and "step 4" in capsys.readouterr().out
    main([str(stopped), "--step", "2", "--out", str(tmp_path / "out")])
    assert values(tmp_path / "out") == {2.5}
    vae, written = (load_pretrained(place)[1] for place in (tmp_path / "vae", tmp_path / "out"))
    for part in ("encoder", "quant_conv", "post_quant_conv"):
        jax.tree.map(np.testing.assert_array_equal, written[part], vae[part])


def test_what_cannot_be_exported_is_one_message(stopped, tmp_path):
    with pytest.raises(InputError, match=r"holds no checkpoint 3\. There are those of steps 2, 4; --step picks one"):
        main([str(stopped), "--step", "3"])
    with pytest.raises(InputError, match="nowhere holds no checkpoints of a run"):
        main([str(tmp_path / "nowhere")])
    with pytest.raises(InputError, match="in use by a run"):
        held = Lock(stopped / "run.lock")
        main([str(stopped)])
    held.release()
    largest = max((stopped / "checkpoints" / "4").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"checkpoint .*4 is damaged \(.*--step picks one"):
        main([str(stopped)])

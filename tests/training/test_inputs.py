"""A run goes on with the pictures and the autoencoder that it began with, or not at all."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from asym_jax.config import TrainConfig
from asym_jax.data.folder import FolderSource
from asym_jax.data.mixture import Mixture
from asym_jax.data.objects import ObjectSource
from asym_jax.data.sources import split
from asym_jax.data.synthetic import SyntheticSource
from asym_jax.errors import InputError
from asym_jax.training.inputs import identify
from asym_jax.training.workdir import open_workdir

FROZEN = {"vae": {name: {"kernel": np.arange(3.0)} for name in ("encoder", "quant_conv", "post_quant_conv", "decoder")}}


class Bare:
    """Somebody's source, whose `repr` says where in memory it lies."""

    skipped = {}

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> np.ndarray:
        return np.zeros((8, 8, 3), np.uint8)

    def name(self, index: int) -> str:
        return str(index)


def folder(place: str, names: str) -> FolderSource:
    return FolderSource([Path(place) / name for name in names.split()])


def identified(source, *, held_out: int = 1, dtype: str = "float32", **changed) -> dict[str, str]:
    vae = FROZEN["vae"] | {name: {"kernel": kernel} for name, kernel in changed.items()}
    return identify(*split(source, held_out), dtype, {"vae": vae})


BEGUN = identified(folder("/a", "x1.png x2.png y/x1.png"))


@pytest.mark.parametrize("place", ["/a", "/b/c", "/"])
def test_a_folder_that_was_moved_holds_the_same_pictures(place):
    assert identified(folder(place, "x1.png x2.png y/x1.png")) == BEGUN


def test_objects_without_a_repr_of_their_own_are_told_by_their_type():
    one, other = Bare(), Bare()  # both alive, or they could lie in the same place
    assert identified(one) == identified(other) != identified(SyntheticSource())


OTHERS = {
    "one more": folder("/a", "x1.png x2.png x3.png y/x1.png"),
    "another name": folder("/a", "x1.png x3.png y/x1.png"),
    "another order": folder("/a", "x2.png x1.png y/x1.png"),
    "no files at all": SyntheticSource(),
    "objects": ObjectSource([0, 1, 2]),
    "part of a mixture": Mixture([folder("/a", "x1.png x2.png y/x1.png"), SyntheticSource()], ["1", "1"]),
}


@pytest.mark.parametrize("source", OTHERS.values(), ids=OTHERS)
def test_other_pictures_are_others_and_the_autoencoder_is_not(source):
    found = identified(source)
    assert found["pictures"] != BEGUN["pictures"] and found["autoencoder"] == BEGUN["autoencoder"]


def test_mixtures_are_told_by_their_shares_and_by_each_component():
    def mixed(place: str, *shares: int, names: str = "1.png 2.png 3.png") -> str:
        parts = [folder(place, names), SyntheticSource()]
        return identified(Mixture(parts, list(map(Fraction, shares))), held_out=2)["pictures"]

    assert mixed("/a", 1, 2) == mixed("/b", 1, 2)
    assert len({mixed("/a", 1, 2), mixed("/a", 2, 1), mixed("/a", 1, 2, names="1.png 2.png 4.png")}) == 3


@pytest.mark.parametrize("part", ["encoder", "quant_conv", "post_quant_conv", "quantize"])
def test_any_weight_that_the_latents_come_from_counts(part):
    found = identified(folder("/a", "x1.png x2.png y/x1.png"), **{part: np.array([0.0, 1.0, 2.5])})
    assert found["autoencoder"] != BEGUN["autoencoder"] and found["pictures"] == BEGUN["pictures"]


def test_the_frozen_decoder_does_not_count():
    assert identified(folder("/a", "x1.png x2.png y/x1.png"), decoder=np.zeros(3)) == BEGUN


CHANGES = {
    "pictures": ({"pictures": "q"}, r"^the pictures \(data\.source\) changed since the run in .*--workdir, or --fresh"),
    "autoencoder": ({"autoencoder": "q"}, r"^the autoencoder \(model\.vae\) changed"),
    "both": ({"pictures": "q", "autoencoder": "q"}, r"^the pictures \(data\.source\) and the autoencoder \(model\.vae\) changed"),
}


@pytest.mark.parametrize(("changed", "message"), CHANGES.values(), ids=CHANGES)
def test_a_run_does_not_go_on_with_others(tmp_path, changed, message):
    inputs = {"pictures": "p", "autoencoder": "a"}
    config = TrainConfig()
    with open_workdir(tmp_path / "run", config, inputs, fresh=False) as workdir:
        assert json.loads(workdir.inputs.read_text()) == inputs
    with pytest.raises(InputError, match=message):
        open_workdir(tmp_path / "run", config, inputs | changed, fresh=False)
    with open_workdir(tmp_path / "run", config, inputs, fresh=False):  # the refusal did not lock it
        pass
    with open_workdir(tmp_path / "run", config, inputs | changed, fresh=True) as workdir:
        assert json.loads(workdir.inputs.read_text()) == inputs | changed


def test_a_run_of_before_goes_on_and_a_damaged_file_is_named(tmp_path):
    config = TrainConfig()
    with open_workdir(tmp_path, config, fresh=False):
        pass
    with open_workdir(tmp_path, config, {"pictures": "p", "autoencoder": "a"}, fresh=False) as workdir:
        assert not workdir.inputs.exists()
    workdir.inputs.write_text("[1")
    with pytest.raises(InputError, match=r"inputs\.json cannot be read .*without this file the run goes on"):
        open_workdir(tmp_path, config, {"pictures": "p", "autoencoder": "a"}, fresh=False)


def test_a_run_killed_before_it_was_born_is_begun_anew(tmp_path):
    (tmp_path / "inputs.json").write_text("{}")
    with open_workdir(tmp_path, TrainConfig(), {"pictures": "p"}, fresh=False) as workdir:
        assert json.loads(workdir.inputs.read_text()) == {"pictures": "p"}

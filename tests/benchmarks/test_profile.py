"""Parts add up to the whole, and nothing is missing."""

import json

import pytest

from asym_jax.weights.architecture import abstract_params
from benchmarks import profile
from benchmarks.measuring import operations
from benchmarks.peers.contest import Case
from benchmarks.peers.material import MODELS, drawn, shape_of


@pytest.fixture
def case(tmp_path):
    return Case("profile", "tiny", 32, 2, "float32", tmp_path)


def test_parts_of_the_decoder_do_all_its_work(case):
    parts = list(profile.decoder_parts(case, MODELS["tiny"], drawn(abstract_params(MODELS["tiny"]))))
    forward = sum(part.gflop for part in parts if not part.name.endswith("back"))
    assert forward == pytest.approx(2 * operations.decoder(shape_of("tiny"), 32) / 1e9)
    assert sum(part.gflop for part in parts) == pytest.approx(4 * forward)


@pytest.mark.slow
def test_the_table_and_the_record_have_every_part(case, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["profile", "--model", "tiny", "--size", "32", "--rounds", "2", "--output", "test"])
    monkeypatch.setattr(profile, "RESULTS", tmp_path)
    monkeypatch.setattr(profile, "COPIED", {"cpu": 2**20})
    monkeypatch.setattr(profile, "matrix_rate", lambda case: 1e9)
    profile.main()
    rows = json.loads((tmp_path / "profile-test.json").read_text())["cases"]["tiny 32 batch 1 float32"]["parts"]
    shown = capsys.readouterr().out
    assert len(rows) == 17 and all(name in shown for name in rows)
    # At 1 GFLOP/s the floor of what computes much is its operations.
    assert rows["frozen encoder"]["floor"] == pytest.approx(rows["frozen encoder"]["gflop"], rel=1e-4)

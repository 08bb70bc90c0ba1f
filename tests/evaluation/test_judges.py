"""Networks that are there, and those that are not."""

import pytest

from asym_jax.evaluation import judges as module
from asym_jax.evaluation.judges import load_judges
from asym_jax.evaluation.measure import Measures, undefined
from asym_jax.weights.fetching.published import CLIP, INCEPTION, PublishedFile
from asym_jax.weights.inception import InceptionWeights
from asym_jax.weights.networks import LpipsWeights


@pytest.fixture
def here(monkeypatch):
    """Inception and LPIPS are there, CLIP and AlexNet are not; nothing else is asked for."""
    monkeypatch.setattr(module, "_PROBLEMS", dict.fromkeys(("lpips", "inception"), lambda: None) | {"clip": lambda: "put it there"})
    monkeypatch.setattr(
        module,
        "_LOADERS",
        {"lpips": lambda: LpipsWeights({"a": 1}, (2,), True), "inception": lambda: InceptionWeights({"b": 3}, False)},
    )
    monkeypatch.setattr(module.required, "sha256", lambda file: f"hash of {file.name}")


def test_what_is_there_is_loaded_and_what_is_not_is_skipped(here):
    judges = load_judges(("lpips", "fid", "inception_score", "clip_score", "seam"))
    assert judges.params == {"lpips": ({"a": 1}, (2,)), "inception": {"b": 3}}
    assert judges.skipped == {"clip_score": "put it there"}
    assert judges.missing == [CLIP] and judges.clip is None


def test_results_say_what_they_were_measured_with(here):
    judges = load_judges(("lpips", "fid"))
    assert judges.networks["inception"] == {"files": {INCEPTION.name: f"hash of {INCEPTION.name}"}, "verified": False}
    files = judges.networks["lpips"]["files"]
    assert judges.networks["lpips"]["verified"] and all(len(published) == 64 for published in files.values())
    (note,) = judges.notes
    assert note.startswith("unverified: the weights of inception are not")


def test_a_metric_that_is_not_defined_needs_no_file(here, monkeypatch):
    """Inception is missing too, which is said of the FID alone."""
    monkeypatch.setitem(module._PROBLEMS, "inception", lambda: "put it there")
    reasons = undefined(Measures(paired=False, metrics=("fid", "inception_score"), mode="clean"))
    assert reasons == {"inception_score": "it is defined for pictures resized as --fid tf does it, not clean"}
    judges = load_judges(("fid", "inception_score"), reasons)
    assert (judges.undefined, judges.skipped) == (reasons, {"fid": "put it there"})
    assert judges.not_measured() == [
        "not measured: inception_score: it is defined for pictures resized as --fid tf does it, not clean",
        "not measured: fid. To fetch their networks: python -m asym_jax.weights fetch inception",
    ]
    assert undefined(Measures(paired=False, metrics=("inception_score",), mode="tf")) == {}
    assert load_judges(("seam",)).not_measured() == []


def test_only_what_is_needed_is_asked_for(here):
    assert load_judges(("seam",)).params == {}
    assert all(isinstance(file, PublishedFile) for files in module.FILES.values() for file in files)

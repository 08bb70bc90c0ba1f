"""Measured pictures against numpy and scikit-image, computed from the files that an evaluation leaves."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from asym_jax.evaluation import measure as module
from asym_jax.evaluation.encoded import EncodedLatents
from asym_jax.evaluation.generate import generate
from asym_jax.evaluation.judges import Judges
from asym_jax.evaluation.measure import Measures, measure
from asym_jax.evaluation.versions import Plan, row_names
from asym_jax.evaluation.workbook import Workbook
from tests.evaluation.tiny import examples, noise, subjects

COUNT = 9  # one more than there are devices
PLAN = Plan(conditioned=True)
NAMES = ["vanilla", "copy-and-paste", "ours"]
PAIRED = Measures(paired=True, metrics=("lpips", "fid", "inception_score"), mode="tf")


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Workbook:
    book, both = Workbook(tmp_path_factory.mktemp("book"), {}), subjects()
    assert row_names(both, PLAN) == NAMES
    generate(both, EncodedLatents(both), PLAN, examples(COUNT), book, rows=1, how="round", advance=lambda n: None)
    return book


def networks(*names: str) -> Judges:
    """Stand-ins that see what the real ones would: `look` and `picture_lpips` are replaced, see `stand_ins`."""
    return Judges(
        params={name: (1.0, ()) if name.startswith("lpips") else 1.0 for name in names},
        clip=None,
        skipped={},
        missing=[],
        networks={name: {"files": {}, "verified": True} for name in names},
        notes=[],
        undefined={},
    )


class Taps:
    def __init__(self, pixels: jax.Array) -> None:
        self.pool3 = jnp.mean(pixels.astype(jnp.float32), axis=(1, 2))
        self.logits = self.pool3 / 9


@pytest.fixture
def stand_ins(monkeypatch):
    """LPIPS is the mean absolute difference, and Inception sees the mean colour."""
    monkeypatch.setattr(module, "look", lambda params, pixels, mode: Taps(pixels))

    def l1(trunk: str, params: float, heads: tuple, a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.mean(jnp.abs(a.astype(jnp.float32) - b.astype(jnp.float32)), axis=(1, 2, 3))

    monkeypatch.setattr(module, "picture_lpips", l1)


def measured(book: Workbook, columns=(), judges: Judges | None = None, rows: int = 1, measures: Measures = PAIRED):
    told = []
    found = measure(columns or NAMES, measures, judges or networks(), examples(COUNT), book, rows=rows, advance=told.append)
    assert sum(told) == COUNT * len(found)
    return found


def test_numbers_agree_with_numpy_and_skimage(book):
    found = measured(book)
    for name in NAMES:
        columns = found[name]
        for example in examples(COUNT):
            a, b = example.pixels, book.read(name, example.name)
            kept = np.broadcast_to(example.mask == 0, a.shape)
            i = example.index
            assert columns["pre_error/sums"][i] == ((a.astype(int) - b) ** 2)[kept].sum()
            assert columns["pre_error/values"][i] == kept.sum()
            np.testing.assert_allclose(columns["l1"][i], np.abs(a / 127.5 - b / 127.5).mean(), rtol=1e-5)
            np.testing.assert_allclose(columns["psnr"][i], peak_signal_noise_ratio(a, b), rtol=1e-5)
            settings = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=-1)
            np.testing.assert_allclose(columns["ssim"][i], structural_similarity(a, b, **settings), atol=1e-5)


def test_networks_see_every_picture_once_and_padding_never(book, stand_ins):
    judges = networks("lpips", "inception")
    for rows in (1, 4):
        found = measured(book, ["original", *NAMES], judges, rows=rows)
        for name in found:
            pictures = np.stack([book.read(name, example.name) for example in examples(COUNT)]).astype(np.float64)
            np.testing.assert_allclose(found[name]["pool3"], pictures.mean(axis=(1, 2)), rtol=1e-5)
            np.testing.assert_allclose(found[name]["logits"], pictures.mean(axis=(1, 2)) / 9, rtol=1e-5)
            assert found[name].keys() >= {"pool3", "logits"}
        assert set(found["original"]) == {"pool3", "logits"}  # it is not compared with itself
        np.testing.assert_allclose(found["ours"]["lpips"], found["ours"]["l1"] * 127.5, rtol=1e-5)


def test_what_was_measured_is_read_back_unless_it_was_measured_otherwise(book, stand_ins, monkeypatch):
    judges = networks("lpips")
    first = measured(book, ["ours"], judges)
    monkeypatch.setattr(module, "picture_columns", None)  # would be called if anything were measured again
    again = measured(book, ["ours"], judges)
    jax.tree.map(np.testing.assert_array_equal, again, first)
    with pytest.raises(TypeError):
        measured(book, ["ours"], networks("lpips", "inception"))


def test_without_originals_only_the_networks_speak(book, stand_ins):
    unpaired = Measures(paired=False, metrics=("fid",), mode="tf")
    assert set(measured(book, ["vanilla"], networks("inception"), measures=unpaired)["vanilla"]) == {"pool3"}


def test_the_inception_score_is_of_one_way_of_resizing_only(book, stand_ins):
    for mode, expected in (("tf", {"pool3", "logits"}), ("clean", {"pool3"}), ("legacy_pytorch", {"pool3"})):
        unpaired = Measures(paired=False, metrics=("fid", "inception_score"), mode=mode)
        assert set(measured(book, ["vanilla"], networks("inception"), measures=unpaired)["vanilla"]) == expected


def test_the_clip_score_sees_the_box_and_the_example(book, stand_ins, tmp_path, monkeypatch):
    """Of result and example only the mean colour, so that the cosine can be computed by hand."""
    book = Workbook(shutil.copytree(book.folder, tmp_path / "copy"), {})

    class Tower:
        image_size = 8

    monkeypatch.setattr(module, "embedded", lambda model, params, inputs: jnp.mean(inputs, axis=(1, 2)) + 3)
    boxed, pictures = [], noise(COUNT, 20, 30, seed=5)
    for example in examples(COUNT):
        mask = np.zeros((16, 16, 1), np.float32)
        mask[2:11, 4:13] = 1
        boxed.append(example._replace(reference=pictures[example.index]))
        book.save("mask", example.name, (mask[..., 0] * 255).astype(np.uint8))
    judges = networks("clip", "inception")._replace(clip=Tower())
    unpaired = Measures(paired=False, metrics=("clip_score",), mode="tf")
    both = measure(["original", "ours"], unpaired, judges, boxed, book, rows=2, advance=lambda n: None)
    assert set(both["original"]) == {"pool3"}
    found = both["ours"]["clip_score"]
    mean, deviation = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    for example in boxed:
        region = book.read("ours", example.name)[2:10, 4:12].mean(axis=(0, 1)) / 255  # 8 pixels a side: nothing is resized
        a = (region - mean) / deviation + 3
        b = (module.reference_pixels(example.reference).mean(axis=(0, 1)) / 255 - mean) / deviation + 3
        np.testing.assert_allclose(found[example.index], 100 * a @ b / np.linalg.norm(a) / np.linalg.norm(b), rtol=1e-4)

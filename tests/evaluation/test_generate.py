"""Pictures of an evaluation, against decoders called by hand; the same bits on 1 and 8 devices and after being killed."""

import contextlib
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from asym_jax.evaluation.encoded import EncodedLatents
from asym_jax.evaluation.generate import generate
from asym_jax.evaluation.versions import Plan, row_names
from asym_jax.evaluation.workbook import Workbook
from tests.evaluation.tiny import examples, subjects

COUNT = 11  # neither a multiple of the rows of a device, nor of eight devices
PLAN = Plan(conditioned=True, ablation=True)
NAMES = ["vanilla", "copy-and-paste", "ours", "ours without condition"]


class Killed(Exception):
    """Stands for SIGKILL."""


def make(folder: Path, *, count: int = COUNT, how: str = "round", stop_after: int | None = None) -> Workbook:
    both, done = subjects(), 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        if stop_after is not None and done >= stop_after:
            raise Killed

    book = Workbook(folder, {"how": how})
    source = EncodedLatents(both)
    with contextlib.suppress(Killed):
        generate(both, source, PLAN, examples(count), book, rows=2, how=how, advance=advance)
    return book


@pytest.fixture(scope="module")
def eight(tmp_path_factory) -> Workbook:
    assert jax.device_count() == 8
    return make(tmp_path_factory.mktemp("eight"))


@pytest.fixture(scope="module")
def by_hand():
    """In float64-free plain calls, one picture at a time."""
    both = subjects()
    (decoder,) = both.decoders

    @jax.jit
    def decode(image, mask):
        latents = both.vae.apply({"params": both.vae_params}, image, method="encode").mean
        plain = both.vae.apply({"params": both.vae_params}, latents, method="decode")
        ours = decoder.model.apply({"params": decoder.params}, latents, image=image, mask=mask, method="decode")
        blind = decoder.model.apply({"params": decoder.params}, latents, method="decode")
        return plain, jax.numpy.where(mask == 1, plain, image), ours, blind

    made = []
    for example in examples(COUNT):
        image = np.float32(example.pixels[None] / 127.5 - 1)
        made.append([np.asarray(version[0], np.float64) for version in decode(image, example.mask[None])])
    return made


def files(book: Workbook) -> dict[str, bytes]:
    """Every picture as stored, and the lines of the journal in order."""
    found = {str(path.relative_to(book.folder)): path.read_bytes() for path in book.folder.rglob("*.png")}
    return found | {"notes": json.dumps(sorted(book.notes.items())).encode()}


def test_every_row_is_what_its_decoder_gives(eight, by_hand):
    assert row_names(subjects(), PLAN) == NAMES
    for example, made in zip(examples(COUNT), by_hand, strict=True):
        for name, version in zip(NAMES, made, strict=True):
            levels = np.rint((np.clip(version, -1, 1) + 1) * 127.5)
            assert np.abs(levels - eight.read(name, example.name)).max() <= 1, name
    assert eight.read("vanilla", "folder/0").std() > 10


def test_what_goes_in_is_kept_too(eight):
    example = examples(COUNT)[1]
    np.testing.assert_array_equal(eight.read("original", example.name), example.pixels)
    np.testing.assert_array_equal(eight.read("mask", example.name), example.mask * 255)
    with Image.open(eight.path("masked", example.name)) as masked:
        hole = example.mask[..., 0] == 1
        assert (np.asarray(masked)[hole] == 128).all()
        np.testing.assert_array_equal(np.asarray(masked)[~hole], example.pixels[~hole])


def test_errors_before_rounding_and_after_cutting_are_noted(eight, by_hand):
    for example, made in zip(examples(COUNT), by_hand, strict=True):
        note = eight.notes[example.index]
        kept = np.broadcast_to(example.mask == 0, example.pixels.shape)
        assert (note["name"], note["pixels"]) == (example.name, 16 * 16)
        for name, version in zip(NAMES, made, strict=True):
            found, clipped = note["decoded"][name], np.clip(version, -1, 1)
            assert found["pre_error_float/values"] == found["pre_error_floor/values"] == kept.sum()
            error = ((example.pixels / 127.5 - 1 - clipped) ** 2)[kept].sum()
            np.testing.assert_allclose(found["pre_error_float/sums"], error, rtol=1e-4, atol=1e-9, err_msg=name)
            cut = np.floor((clipped + 1) * 127.5)
            if name == "copy-and-paste":  # which is not cut where it was never decoded
                cut = np.where(kept, example.pixels, cut)
                np.testing.assert_array_equal(eight.read(name, example.name)[kept[..., 0]], example.pixels[kept[..., 0]])
            np.testing.assert_allclose(found["pre_error_floor/sums"], ((example.pixels - cut) ** 2)[kept].sum(), rtol=5e-3)


def test_one_device_makes_the_same_files(eight, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:1])
    assert files(make(tmp_path)) == files(eight)


def test_a_killed_evaluation_goes_on_to_the_same_files(eight, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:2])  # so that there are several batches
    book = make(tmp_path, stop_after=5)
    book.close()
    assert 0 < len(book.notes) < COUNT
    # Cut off while the journal was written, and with pictures that are half there.
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])
    shutil.copy(tmp_path / "settings.json", tmp_path / "pictures" / "vanilla" / ".x.png.tmp")
    assert files(make(tmp_path)) == files(eight)


def test_more_examples_leave_the_first_ones_as_they_are(eight, tmp_path):
    fewer = {name: content for name, content in files(make(tmp_path, count=3)).items() if name != "notes"}
    assert fewer.items() <= files(eight).items()


def test_pictures_can_be_cut_to_eight_bits_instead(eight, tmp_path):
    """As the reference's scripts do it: a level less wherever rounding would have gone up."""
    book = make(tmp_path, how="floor", count=1)
    difference = eight.read("vanilla", "folder/0").astype(int) - book.read("vanilla", "folder/0")
    assert set(np.unique(difference)) == {0, 1}
    kept = examples(1)[0].mask[..., 0] == 0
    np.testing.assert_array_equal(book.read("copy-and-paste", "folder/0")[kept], examples(1)[0].pixels[kept])

"""Crops encoded once: the same training as with the encoder in every step, and a cache that belongs to what made it."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from asym_jax.data import latent_cache
from asym_jax.data.latent_cache import CachedBatch, FixedCrops, PickCachedCrop
from asym_jax.data.sources import open_source
from asym_jax.data.stream import batches
from asym_jax.errors import InputError
from asym_jax.training import latents
from asym_jax.training.latents import with_cached_latents
from asym_jax.training.loop import run
from asym_jax.training.networks import build
from asym_jax.training.program import Program
from tests.training.tiny import save_vae, tiny_config

PICTURES = 7


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    return save_vae(tmp_path_factory.mktemp("vae") / "vae", (8,))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for i in range(PICTURES):
        Image.fromarray(random.integers(0, 256, (20, 24 + i, 3), np.uint8)).save(folder / f"{i}.png")
    return folder


def configured(vae, folder, **data):
    return tiny_config(vae, (8,), data={"source": f"folder:{folder}", "latent_cache": True, "cached_crops": 3} | data)


@pytest.fixture(scope="module")
def built(vae, folder):
    return build(configured(vae, folder))


def fill(built, vae, folder, place, monkeypatch, *, shard: int = 3, **data):
    monkeypatch.setattr(latents, "SHARD", shard)
    monkeypatch.setattr(latent_cache, "SHARD", shard)
    config = configured(vae, folder, **data)
    notes = []
    return with_cached_latents(config, built[0], built[1], open_source(config.data.source), place, notes.append), notes


def test_moments_are_those_of_the_crops(built, vae, folder, tmp_path, monkeypatch):
    source, _ = fill(built, vae, folder, tmp_path, monkeypatch)
    networks, frozen, _ = built
    encode = jax.jit(lambda image: networks.vae.apply({"params": frozen["vae"]}, image, method="encode"))
    for index in range(PICTURES):
        for which in range(3):
            pixels, moments = source.cache.lookup(*source[index], which)
            np.testing.assert_array_equal(pixels, FixedCrops(16, (0.5, 1.0), 3, 0).of(index, source.source[index], which))
            posterior = encode(pixels[None].astype(np.float32) / 127.5 - 1)
            np.testing.assert_allclose(moments, np.concatenate(posterior, -1)[0], rtol=1e-5, atol=1e-5)


def test_a_batch_is_a_function_of_seed_and_step(built, vae, folder, tmp_path, monkeypatch):
    source, _ = fill(built, vae, folder, tmp_path, monkeypatch)
    settings = {"batch_size": 4, "image_size": 16, "crop_scale": (0.5, 1.0), "threads": 1, "crop": PickCachedCrop(source.cache)}

    def some(start: int, count: int) -> list[CachedBatch]:
        stream = batches(source, seed=5, start=start, **settings)
        return [next(stream) for _ in range(count)]

    whole, later = some(0, 6), some(3, 3)
    assert (
        isinstance(whole[0], CachedBatch) and whole[0].pixels.shape == (4, 16, 16, 3) and whole[0].moments.shape == (4, 16, 16, 8)
    )
    jax.tree.map(np.testing.assert_array_equal, whole[3:], later)
    # Different crops of a picture come in different epochs, and never more than there are.
    seen = {pixels.tobytes() for batch in some(0, 40) for pixels in batch.pixels}
    assert PICTURES * 2 < len(seen) <= PICTURES * 3


def test_what_is_there_is_not_encoded_again(built, vae, folder, tmp_path, monkeypatch):
    source, notes = fill(built, vae, folder, tmp_path, monkeypatch)
    assert "encoding 3 crops of each of 7 pictures once" in notes[0] and "encoded 21 crops" in notes[-1]
    shards = sorted(source.cache.folder.glob("*.moments.npy"))
    before = [path.read_bytes() for path in shards]
    assert len(shards) == 3
    assert fill(built, vae, folder, tmp_path, monkeypatch)[1] == []
    # A stop in the middle of the second shard leaves the first; the rest is encoded when the run goes on.
    for path in shards[1:]:
        path.unlink()
    assert "encoded 12 crops" in fill(built, vae, folder, tmp_path, monkeypatch)[1][-1]
    assert [path.read_bytes() for path in shards] == before
    assert not [path for path in source.cache.folder.iterdir() if path.name.startswith(".")]


def test_another_setting_has_another_cache(built, vae, folder, tmp_path, monkeypatch):
    places = {
        fill(built, vae, folder, tmp_path, monkeypatch, **data)[0].cache.folder
        for data in ({}, {"cached_crops": 2}, {"crop_scale": (0.6, 1.0)}, {"image_size": 18})
    }
    networks, frozen, given = built
    frozen = frozen | {"vae": frozen["vae"] | {"quant_conv": jax.tree.map(lambda leaf: leaf + 1, frozen["vae"]["quant_conv"])}}
    places.add(fill((networks, frozen, given), vae, folder, tmp_path, monkeypatch)[0].cache.folder)
    assert len(places) == 5
    (settings,) = {json.loads((place / "cache.json").read_text())["source"] for place in places}
    assert settings.startswith("FolderSource(7 files")


def test_a_picture_that_changed_is_noticed(built, vae, tmp_path, monkeypatch):
    (tmp_path / "pictures").mkdir()
    picture = tmp_path / "pictures" / "a.png"
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(picture)
    source, _ = fill(built, vae, tmp_path / "pictures", tmp_path / "cache", monkeypatch)
    Image.fromarray(np.full((20, 20, 3), 1, np.uint8)).save(picture)
    with pytest.raises(
        InputError, match=r"picture 0 \(from 0\) has changed since its latents were cached in .*; delete that folder"
    ):
        source.cache.lookup(*source[0], 0)


def test_folders_that_cannot_hold_it_are_refused(built, vae, folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"data\.latent_cache: .*file/x/cache_.* cannot be written"):
        fill(built, vae, folder, tmp_path, monkeypatch, cache_folder=str(tmp_path / "file" / "x"))
    # 7 pictures, 3 crops of 16 x 16 latents with 8 float32 each.
    monkeypatch.setattr(latents.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 7 * 3 * 16 * 16 * 8 * 4 - 1}))
    with pytest.raises(InputError, match=r"data\.latent_cache needs 0\.0 GB in .*lower data\.cached_crops"):
        fill(built, vae, folder, tmp_path / "small", monkeypatch)


def test_a_disk_that_fills_up_is_one_message_and_keeps_whole_shards(built, vae, folder, tmp_path, monkeypatch):
    save, files = np.save, []

    def save_three(file, array):
        files.append(1)
        if len(files) > 3:
            file.write(b"half")
            raise OSError(28, "No space left on device")
        save(file, array)

    with monkeypatch.context() as patch, pytest.raises(InputError, match=r"latent_cache: .* cannot be written: No space left"):
        patch.setattr(np, "save", save_three)
        fill(built, vae, folder, tmp_path, monkeypatch)
    assert len([path for path in tmp_path.glob("*/*") if path.suffix == ".npy"]) == 3 == len(list(tmp_path.glob("*/*"))) - 1
    source, notes = fill(built, vae, folder, tmp_path, monkeypatch)
    # Of 7 pictures in shards of 3 the first shard is there, and the sums of the second without their moments.
    assert len(source) == 7 and notes[-1].startswith("encoded 12 crops")


@pytest.mark.slow
def test_a_run_learns_the_same_with_and_without_the_encoder_in_the_step(vae, folder, tmp_path, monkeypatch):
    config = configured(vae, folder, cached_crops=2).model_copy(deep=True)
    run(config, tmp_path / "cached")
    # The same crops, but encoded in every step.
    monkeypatch.setattr(PickCachedCrop, "random_map", lambda self, *given: pick(self, *given).pixels)
    monkeypatch.setattr(Program, "_abstract_batch", lambda self, *given: abstract_batch(self, *given).pixels)
    run(config, tmp_path / "encoded")
    cached, encoded = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("cached", "encoded")
    )
    assert len(cached) == 6
    for one, other in zip(cached, encoded, strict=True):
        for name in ("loss/total", "loss/critic", "norm/gradient"):
            np.testing.assert_allclose(one[name], other[name], rtol=1e-4, err_msg=name)


pick, abstract_batch = PickCachedCrop.random_map, Program._abstract_batch

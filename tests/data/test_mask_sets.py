"""Mask sets on disk: the limit, the choice, and that a set which was stopped goes on to the same bytes."""

import collections
import json

import jax
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from asym_jax.data import mask_sets
from asym_jax.data.mask_sets import pick_mask, plan_masks, read_manifest, write_masks
from asym_jax.data.masks import draw_mask, find_recipe
from asym_jax.errors import InputError

NAMES = tuple(f"{'ab'[i % 2]}/{i}" for i in range(37))


def write(folder, names=NAMES, **changes):
    plan = plan_masks(names, **dict(recipe="thick_256", size=32, seed=3) | changes)
    return list(write_masks(folder, names, plan))


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A set that was never stopped; two variants, so that some pictures get no mask."""
    folder = tmp_path_factory.mktemp("whole") / "masks"
    assert write(folder, variants=2)[-1] == len(NAMES)
    return folder


def test_every_picture_has_a_mask_within_the_limit_or_is_listed(whole):
    manifest = read_manifest(whole)
    assert set(manifest["kept"]) | set(manifest["rejected"]) == set(NAMES)
    assert len(manifest["kept"]) == manifest["masks"] and len(manifest["rejected"]) > 0
    assert set(contents(whole)) == {f"{name}.png" for name in manifest["kept"]} | {"manifest.json"}
    for name, area in manifest["kept"].items():
        mask = np.asarray(Image.open(whole / f"{name}.png"))
        assert mask.shape == (32, 32) and set(np.unique(mask)) == {0, 255}
        assert area == (mask == 255).mean() <= 0.5
    assert manifest["mean_area"] == pytest.approx(np.mean(list(manifest["kept"].values())))


def test_masks_are_variants_of_their_picture(whole):
    """Drawn one by one: mask i is one of the two that follow from seed and i, and none that is kept was to be rejected."""
    draw = jax.jit(lambda key: draw_mask(key, height=32, width=32, recipe=find_recipe("thick_256").scaled(32))[..., 0])
    manifest = read_manifest(whole)
    for i, name in enumerate(NAMES):
        variants, _ = jax.random.split(jax.random.fold_in(jax.random.key(3), i))
        masks = [np.asarray(draw(jax.random.fold_in(variants, v))) for v in range(2)]
        accepted = [mask for mask in masks if mask.mean() <= 0.5]
        assert (name in manifest["kept"]) == bool(accepted)
        if accepted:
            stored = np.asarray(Image.open(whole / f"{name}.png")) / 255
            assert any(np.array_equal(stored, mask) for mask in accepted)


@pytest.mark.parametrize("stop", [1, 16, 20])
def test_a_set_that_was_stopped_goes_on_to_the_same_bytes(whole, tmp_path, monkeypatch, stop):
    folder, save, saved = tmp_path / "masks", mask_sets._save, []

    def stopping(path, mask):
        if len(saved) == stop:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}.tmp").write_bytes(b"half a file")
            raise KeyboardInterrupt
        save(path, mask)
        saved.append(path)

    monkeypatch.setattr(mask_sets, "_save", stopping)
    with pytest.raises(KeyboardInterrupt):
        write(folder, variants=2)
    with pytest.raises(InputError, match="not complete: run the same tools.make_masks command again"):
        read_manifest(folder)
    monkeypatch.setattr(mask_sets, "_save", lambda path, mask: (save(path, mask), saved.append(path)))
    write(folder, variants=2)
    assert contents(folder) == contents(whole)
    assert len(saved) == len(set(saved)) == read_manifest(folder)["masks"]  # nothing was written twice


def test_a_damaged_mask_is_drawn_again(whole, tmp_path):
    folder = tmp_path / "masks"
    write(folder, variants=2)
    name = next(iter(read_manifest(folder)["kept"]))
    (folder / f"{name}.png").write_bytes(b"no picture")
    write(folder, variants=2)
    assert contents(folder) == contents(whole)


def test_other_seeds_give_other_masks_and_more_pictures_the_same(whole, tmp_path):
    write(tmp_path / "other", seed=4, variants=2)
    write(tmp_path / "fewer", NAMES[:5], variants=2)
    same = [contents(tmp_path / "other").get(name) == mask for name, mask in contents(whole).items()]
    assert not any(same)
    kept = {name: mask for name, mask in contents(tmp_path / "fewer").items() if name != "manifest.json"}
    assert len(kept) > 0 and kept.items() <= contents(whole).items()


def test_the_smallest_stands_in_where_all_are_rejected(tmp_path):
    write(tmp_path / "masks", max_area=0.05, when_rejected="smallest", variants=3)
    manifest = read_manifest(tmp_path / "masks")
    assert manifest["rejected"] == [] and manifest["masks"] == len(NAMES)
    write(tmp_path / "any", max_area=1.0, variants=3)
    chosen = read_manifest(tmp_path / "any")["kept"]
    assert all(manifest["kept"][name] <= chosen[name] for name in NAMES)
    assert sum(manifest["kept"][name] < chosen[name] for name in NAMES) > 10


def test_each_accepted_variant_is_as_likely():
    """With no limit every variant is accepted; which one was chosen is seen by drawing all of them."""
    plan = plan_masks(["a"], recipe="thick_256", size=16, max_area=1.0, variants=4)
    keys = jax.random.split(jax.random.key(0), 600)
    chosen = np.asarray(jax.jit(lambda keys: jax.lax.map(lambda key: pick_mask(key, plan)[0], keys))(keys)) > 0
    variants = jax.jit(
        lambda keys: jax.lax.map(
            lambda key: jax.vmap(
                lambda i: draw_mask(
                    jax.random.fold_in(jax.random.split(key)[0], i), height=16, width=16, recipe=find_recipe("thick_256").scaled(16)
                )
            )(np.arange(4)),
            keys,
        )
    )(keys)
    matches = (np.asarray(variants)[..., 0] > 0.5) == chosen[:, None]
    matches = matches.all((2, 3))
    assert matches.any(1).all()
    single = matches[matches.sum(1) == 1].argmax(1)
    counts = collections.Counter(single.tolist())
    assert stats.chisquare([counts[i] for i in range(4)]).pvalue > 1e-3


def test_boxes_and_full_masks(tmp_path):
    write(tmp_path / "full", NAMES[:3], recipe="full", size=8)
    assert set(read_manifest(tmp_path / "full")["kept"].values()) == {1.0}
    write(tmp_path / "boxes", recipe="boxes", size=64)
    for name in read_manifest(tmp_path / "boxes")["kept"]:
        mask = np.asarray(Image.open(tmp_path / "boxes" / f"{name}.png"))
        assert not mask[:2].any() and not mask[:, :2].any() and not mask[-2:].any()  # the margin of 10 in 256
        rows = {row.tobytes() for row in mask if row.any()}
        assert 1 <= len(rows) <= 5  # at most three boxes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(recipe="thin"), "unknown mask recipe 'thin': expected one of thin_256, .*, boxes, full"),
        (dict(max_area=0.0), "largest area in"),
        (dict(variants=0), "at least one variant"),
        (dict(names=["a", "b", "a"]), "two pictures would share the mask a"),
        (dict(names=[]), "at least one picture"),
    ],
)
def test_bad_plans_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        plan_masks(**dict(names=["a"], recipe="thick_256") | changes)


def test_folders_of_something_else_are_refused(whole, tmp_path):
    with pytest.raises(InputError, match=r"another plan \(seed was 3 and is 9\); give a new folder"):
        write(whole, seed=9, variants=2)
    (tmp_path / "holiday.png").touch()
    with pytest.raises(InputError, match="is not empty, and no mask set was begun there"):
        write(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"photos": 3}))
    with pytest.raises(InputError, match="is not the manifest of a mask set"):
        write(tmp_path)
    with pytest.raises(InputError, match="is not the manifest of a mask set"):
        read_manifest(tmp_path)

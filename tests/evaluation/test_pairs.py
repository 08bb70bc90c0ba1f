"""Pictures and their masks as files give them."""

import re

import numpy as np
import pytest
from PIL import Image

from asym_jax.errors import InputError
from asym_jax.evaluation.pairs import Pairs, in_batches, load_pairs
from tests.evaluation.tiny import noise, write


def mask_of(height: int, width: int, *, rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[rows, columns] = 255
    return mask


def test_a_mask_is_cropped_with_its_picture(tmp_path):
    """Wide and tall pictures with white where their mask is white: they must stay congruent."""
    wide = mask_of(32, 48, rows=slice(8, 24), columns=slice(0, 24))
    tall = mask_of(48, 32, rows=slice(0, 16), columns=slice(4, 12))
    images = write(tmp_path / "images", {"wide.png": np.stack([wide] * 3, -1), "tall.png": np.stack([tall] * 3, -1)})
    masks = write(tmp_path / "masks", {"wide.png": wide, "tall.png": tall})
    pairs = load_pairs(images, str(masks), size=16, limit=None)
    assert pairs.names == ["tall.png", "wide.png"]
    assert pairs.masks.shape == (2, 16, 16, 1) and pairs.masks.dtype == np.float32
    np.testing.assert_array_equal(pairs.masks[..., 0], pairs.pixels[..., 0] / 255)
    # By pencil: the central square of the wide one begins at column 8, so its white columns 0..23 become 0..15 of 32.
    expected = np.zeros((16, 16))
    expected[4:12, :8] = 1
    np.testing.assert_array_equal(pairs.masks[1, ..., 0], expected)
    expected = np.zeros((16, 16))
    expected[:4, 2:6] = 1  # rows 0..15 of the tall one lie in the square of rows 8..39 as 0..7
    np.testing.assert_array_equal(pairs.masks[0, ..., 0], expected)


def test_grey_is_a_hole_from_128_on_and_masks_stay_hard(tmp_path):
    images = write(tmp_path / "images", {"a.png": noise(1, 32, 32)[0]})
    levels = np.repeat(np.uint8([0, 127, 128, 255]), 8)
    masks = write(tmp_path / "masks", {"a.png": np.tile(levels, (32, 1))})
    mask = load_pairs(images, str(masks), size=24, limit=None).masks
    np.testing.assert_array_equal(mask[0, :, :, 0], np.tile(np.repeat([0, 0, 1, 1], 6), (24, 1)))


def test_masks_are_found_by_name_whatever_the_extension(tmp_path):
    images = write(tmp_path / "images", {"a.jpg": noise(1)[0], "b.png": noise(1)[0]})
    masks = write(tmp_path / "masks", {"a.png": np.full((16, 16), 255, np.uint8), "b.bmp": np.zeros((16, 16), np.uint8)})
    (masks / "a.json").write_text("{}")  # sorts before a.png, but is no picture
    pairs = load_pairs(images, str(masks), size=16, limit=None)
    assert [float(mask.mean()) for mask in pairs.masks] == [1, 0]


@pytest.mark.slow
def test_recipes_give_every_run_the_same_masks(tmp_path):
    images = write(tmp_path, {f"{i}.png": picture for i, picture in enumerate(noise(3))})
    masks = load_pairs(images, "thick_256", size=16, limit=None).masks
    assert masks.shape == (3, 16, 16, 1) and masks.dtype == np.float32
    assert len({mask.tobytes() for mask in masks}) == 3
    np.testing.assert_array_equal(load_pairs(images, "thick_256", size=16, limit=2).masks, masks[:2])


@pytest.fixture
def recipes(monkeypatch):
    """What was asked of the recipes; drawing real masks takes seconds to compile."""
    asked = []

    def fixed_masks(recipe: str, *, count: int, size: int) -> np.ndarray:
        asked.append((recipe, count, size))
        return np.zeros((count, size, size, 1), np.float32)

    monkeypatch.setattr("asym_jax.evaluation.pairs.fixed_masks", fixed_masks)
    return asked


def test_the_limit_takes_the_first_and_lists_keep_their_order(tmp_path, recipes):
    write(tmp_path, {f"{i}.png": picture for i, picture in enumerate(noise(3))})
    assert load_pairs(tmp_path, "thin_256", size=16, limit=2).names == ["0.png", "1.png"]
    (tmp_path / "list.txt").write_text("2.png\n0.png\n")
    assert load_pairs(tmp_path / "list.txt", "thin_256", size=16, limit=None).names == ["2.png", "0.png"]
    assert recipes == [("thin_256", 2, 16)] * 2


def test_unreadable_pictures_are_left_out_with_their_reason(tmp_path, recipes):
    write(tmp_path, {"good.png": noise(1)[0]})
    (tmp_path / "bad.png").write_text("no picture")
    pairs = load_pairs(tmp_path, "thick_256", size=16, limit=None)
    assert pairs.names == ["good.png"] and pairs.pixels.shape == (1, 16, 16, 3)
    assert list(pairs.skipped) == [str(tmp_path / "bad.png")] and "cannot identify" in pairs.skipped[str(tmp_path / "bad.png")]


def test_what_is_wrong_with_masks_is_said(tmp_path):
    images = write(tmp_path / "images", {"a.png": noise(1, 20, 30)[0], "b.png": noise(1)[0]})
    masks = tmp_path / "masks"

    def refused(message: str) -> None:
        with pytest.raises(InputError, match=message) as caught:
            load_pairs(images, str(masks), size=16, limit=None)
        assert f"--masks {masks}" in str(caught.value)

    refused("neither a folder nor one of .*thick_256")
    write(masks, {"a.png": np.zeros((20, 30), np.uint8)})
    refused(re.escape("has no mask for b.png; it needs the same name"))
    (masks / "b.png").write_text("no picture")
    refused("b.png cannot be read")
    write(masks, {"a.png": np.zeros((30, 20), np.uint8)})
    refused("a.png is 20 x 30 pixels, its picture a.png is 30 x 20 pixels")


def test_nothing_readable_is_an_error(tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    with pytest.raises(InputError, match=r"none of 1 pictures can be read; the first is .*bad\.png \(.*cannot identify"):
        load_pairs(tmp_path, "thick_256", size=16, limit=None)


def test_batches_have_one_shape_and_mark_their_padding():
    pixels, masks = noise(5), np.ones((5, 16, 16, 1), np.float32)
    batches = list(in_batches(Pairs([str(i) for i in range(5)], pixels, masks, {}), 2))
    assert [batch.pixels.shape[0] for batch in batches] == [2, 2, 2]
    assert [batch.valid.tolist() for batch in batches] == [[True, True], [True, True], [True, False]]
    valid = np.concatenate([batch.valid for batch in batches])
    np.testing.assert_array_equal(np.concatenate([batch.pixels for batch in batches])[valid], pixels)
    np.testing.assert_array_equal(np.concatenate([batch.masks for batch in batches])[valid], masks)


def test_masks_of_rotated_photos_are_compared_upright(tmp_path):
    """A camera stores 32x48 pixels and says "turn me": its mask is 48x32, as every viewer shows the photo."""
    images = tmp_path / "images"
    images.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(1, 32, 48)[0]).save(images / "photo.jpg", exif=exif)
    masks = write(tmp_path / "masks", {"photo.png": np.zeros((48, 32), np.uint8)})
    assert load_pairs(images, str(masks), size=16, limit=None).masks.max() == 0

"""Plain folders and pairs, and what all sets promise: nothing is left out, nothing is decoded before it is wanted."""

import json

import numpy as np
import pytest
from PIL import Image

from asym_jax.data.evaluation_sets.examples import EvaluationExample
from asym_jax.data.evaluation_sets.named import open_evaluation_set
from asym_jax.data.mask_sets import plan_masks, write_masks
from asym_jax.data.masks import fixed_masks
from asym_jax.errors import InputError
from tests.data.evaluation_sets.layouts import number_of, write_mask, write_picture


@pytest.fixture
def folder(tmp_path):
    """Three pictures, one of them upright, in two folders."""
    write_picture(tmp_path / "pictures" / "b.png", 2)
    write_picture(tmp_path / "pictures" / "a" / "x.jpg", 1)
    write_picture(tmp_path / "pictures" / "c.webp", 3, width=16, height=24)
    return tmp_path / "pictures"


def test_a_folder_in_order_with_names(folder):
    found = open_evaluation_set(str(folder), size=8)
    assert len(found) == 3 and [found.name(i) for i in range(3)] == ["a/x", "b", "c"]
    for i, example in enumerate(found[i] for i in range(3)):
        assert isinstance(example, EvaluationExample)
        assert (example.index, example.name, example.pixels.shape, example.pixels.dtype) == (i, found.name(i), (8, 8, 3), np.uint8)
        assert number_of(example.pixels) == i + 1
        assert example.mask is None and example.reference is None and example.captions == ()
    with pytest.raises(IndexError):
        found[3]


def test_a_list_of_files(folder, tmp_path):
    (tmp_path / "some.txt").write_text("pictures/c.webp\npictures/a/x.jpg\n")
    found = open_evaluation_set(f"folder:{tmp_path / 'some.txt'}", size=8)
    assert [found.name(i) for i in range(2)] == ["pictures/c", "pictures/a/x"]
    assert number_of(found[0].pixels) == 3


def test_a_broken_picture_is_an_error_that_names_it(folder):
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:60])
    found = open_evaluation_set(str(folder), size=8)  # nothing is decoded yet
    assert number_of(found[0].pixels) == 1
    with pytest.raises(InputError, match=rf"^{folder}/b.png cannot be read \(.*\); an evaluation leaves no picture out"):
        found[1]


def test_drawn_masks_are_the_fixed_ones(folder):
    found = open_evaluation_set(str(folder), size=32, masks="thick_256")
    expected = fixed_masks("thick_256", count=3, size=32)
    for i in range(3):
        np.testing.assert_array_equal(found[i].mask, expected[i])
        assert found[i].mask.dtype == np.float32
    assert open_evaluation_set(str(folder), size=8, masks="full")[0].mask.min() == 1


def test_mask_files_of_the_pictures_size_are_cropped_along(folder, tmp_path):
    for name, shape in (("a/x", (24, 16)), ("b", (24, 16)), ("c", (16, 24))):
        write_mask(tmp_path / "masks" / f"{name}.png", (0, 0, 12, 8), *shape)
    found = open_evaluation_set(str(folder), size=8, masks=tmp_path / "masks")
    # Of 24 x 16 the square 4..20 x 0..16 is kept; the hole of 0..12 x 0..8 is its upper left quarter.
    expected = np.zeros((8, 8, 1), np.float32)
    expected[:4, :4] = 1
    np.testing.assert_array_equal(found[1].mask, expected)
    expected = np.zeros((8, 8, 1), np.float32)
    expected[:2, :6] = 1  # 0..12 x 0..4 of the 16 x 16 that are kept of 16 x 24
    np.testing.assert_array_equal(found[2].mask, expected)


def test_mask_sets_serve_by_name_and_by_number(folder, tmp_path):
    found = open_evaluation_set(str(folder), size=16)
    for place, names in (("named", [found.name(i) for i in range(3)]), ("numbered", [f"{i:06}" for i in range(3)])):
        list(write_masks(tmp_path / place, names, plan_masks(names, recipe="boxes", size=16)))
    named, numbered = (open_evaluation_set(str(folder), size=16, masks=tmp_path / place) for place in ("named", "numbered"))
    for i in range(3):
        assert 0 < named[i].mask.mean() <= 0.5
        np.testing.assert_array_equal(named[i].mask, numbered[i].mask)


@pytest.mark.parametrize("names", [["a/x", "b", "c"], ["000000", "000001", "000002"]], ids=["named", "numbered"])
def test_pictures_that_a_mask_set_rejected_are_left_out_and_listed(folder, tmp_path, names):
    plan = plan_masks(names, recipe="boxes", size=16)
    list(write_masks(tmp_path / "masks", names, plan))
    (tmp_path / "masks" / f"{names[1]}.png").unlink()
    with pytest.raises(InputError, match="none for the picture b; expected b.png"):
        open_evaluation_set(str(folder), size=16, masks=tmp_path / "masks")[1]  # a mask that got lost is an error
    manifest = json.loads((tmp_path / "masks" / "manifest.json").read_text())
    del manifest["kept"][names[1]]
    (tmp_path / "masks" / "manifest.json").write_text(json.dumps(manifest | {"rejected": [names[1]]}))
    found = open_evaluation_set(str(folder), size=16, masks=tmp_path / "masks")
    assert len(found) == 2 and found.left_out == ("b",) and [found.name(i) for i in range(2)] == ["a/x", "c"]
    assert [(found[i].index, number_of(found[i].pixels)) for i in range(2)] == [(0, 1), (1, 3)]
    stored = np.asarray(Image.open(tmp_path / "masks" / f"{names[2]}.png")) / 255
    np.testing.assert_array_equal(found[1].mask[..., 0], stored)
    with pytest.raises(IndexError):
        found[2]


def test_an_unfinished_mask_set_is_refused(folder, tmp_path):
    next(write_masks(tmp_path / "masks", ["a/x", "b", "c"], plan_masks(["a/x", "b", "c"], recipe="boxes", size=16)))
    with pytest.raises(InputError, match="is not complete"):
        open_evaluation_set(str(folder), size=16, masks=tmp_path / "masks")


def test_masks_that_do_not_fit_or_are_missing_are_named(folder, tmp_path):
    write_mask(tmp_path / "masks" / "b.png", (0, 0, 4, 4), 10, 10)
    found = open_evaluation_set(str(folder), size=8, masks=tmp_path / "masks")
    with pytest.raises(InputError, match="the mask of b is 10 x 10; expected 24 x 16 as its picture, or 8 x 8 as the evaluation"):
        found[1]
    with pytest.raises(InputError, match="none for the picture a/x; expected a/x.png"):
        found[0]
    (tmp_path / "masks" / "c.png").write_bytes(b"")
    with pytest.raises(InputError, match="the mask .*c.png cannot be read"):
        open_evaluation_set(str(folder), size=8, masks=tmp_path / "masks")[2]
    with pytest.raises(InputError, match="masks nowhere: neither a folder nor one of thin_256, .*boxes, full"):
        open_evaluation_set(str(folder), size=8, masks="nowhere")


def test_masks_by_number_are_not_those_of_pictures_called_by_number(tmp_path):
    """Pictures 000001 to 000003 are numbers 0 to 2 of their set."""
    for i in (1, 2, 3):
        write_picture(tmp_path / "pictures" / f"{i:06}.png", i)
        write_mask(tmp_path / "masks" / f"{i:06}.png", (5, 0, 5 + 4 * i, 8))
    (tmp_path / "masks" / "000003.png").unlink()
    found = open_evaluation_set(str(tmp_path / "pictures"), size=16, masks=tmp_path / "masks")
    assert found[0].mask.sum() < found[1].mask.sum()
    with pytest.raises(InputError, match="none for the picture 000003"):
        found[2]


def test_lists_of_pictures_that_lie_elsewhere(tmp_path):
    """No name may lead out of the folder that it is written to."""
    for name in ("x/1.png", "y/1.png"):
        write_picture(tmp_path / "pictures" / name, 1)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "some.txt").write_text("../pictures/x/1.png\n../pictures/y/1.png\n")
    found = open_evaluation_set(str(tmp_path / "lists" / "some.txt"), size=16)
    assert [found.name(i) for i in range(2)] == ["x/1", "y/1"]


def test_two_pictures_of_one_name_are_refused(folder):
    write_picture(folder / "b.jpg", 4)
    with pytest.raises(InputError, match="two pictures are called b"):
        open_evaluation_set(str(folder), size=8)


def test_repr_identifies_the_set(folder):
    found = [open_evaluation_set(str(folder), size=8, masks=masks) for masks in (None, "full", None)]
    assert repr(found[0]) == repr(found[2]) != repr(found[1])
    assert repr(found[0]).startswith("FileSet(3 pictures of 8, centre, names ")
    (folder / "b.png").rename(folder / "d.png")
    assert repr(open_evaluation_set(str(folder), size=8)) != repr(found[0])


@pytest.mark.parametrize(
    ("masks", "names"),
    [(["a/x_mask.png", "y_mask.png"], ["a/x", "y"]), (["y_crop000_mask000.png", "y_crop000_mask001.png"], None)],
    ids=["of the reference", "of LaMa"],
)
def test_pairs(tmp_path, masks, names):
    for number, name in enumerate(masks):
        write_mask(tmp_path / name, (0, 0, 8, 4 + 4 * number), 16, 16)
        write_picture(tmp_path / f"{name.rpartition('_mask')[0]}.png", 5, 16, 16)
    found = open_evaluation_set(f"pairs:{tmp_path}", size=16)
    assert [found.name(i) for i in range(2)] == (names or [name.removesuffix(".png") for name in masks])
    assert [float(found[i].mask.sum()) for i in range(2)] == [32, 64] and number_of(found[1].pixels) == 5
    with pytest.raises(InputError, match="it is 16 x 16 pixels, and must be 8 x 8"):
        open_evaluation_set(f"pairs:{tmp_path}", size=8)[0]
    assert open_evaluation_set(f"pairs:{tmp_path}", size=8, sizing="centre")[0].mask.sum() == 8
    next(tmp_path.rglob("y*.png")).with_name(masks[1].rpartition("_mask")[0] + ".png").unlink()
    with pytest.raises(InputError, match="files are missing; the first is .*y"):
        open_evaluation_set(f"pairs:{tmp_path}", size=16)


@pytest.mark.parametrize("spec", ["imagenet:", "celeba:/data", "places365:"])
def test_unknown_sets_are_refused_with_the_grammar(spec):
    with pytest.raises(InputError, match=f"unknown evaluation set '{spec}': expected DIR, LIST.txt, pairs:DIR, imagenet:DIR"):
        open_evaluation_set(spec, size=8)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("pairs:{}", "expected NAME.png and its mask NAME_mask.png"),
        ("imagenet:{}", "expected ILSVRC2012_val_00000001.JPEG, ..., all in one folder or in a folder for each class"),
        ("places365:{}", "expected Places365_val_00000001.jpg, ... in it, or in its folder val_256 or val_large"),
        ("cocoee:{}", "expected GT_3500/000000000000_GT.png, Mask_bbox_3500/000000000000_mask.png and Ref_3500/"),
        ("coco-karpathy:{}", "expected dataset_coco.json .* and val2014/COCO_val2014_"),
        ("{}", "no pictures in .*: expected files ending in"),
    ],
)
def test_the_wrong_folder_gets_one_message_that_says_what_was_expected(tmp_path, spec, expected):
    (tmp_path / "notes.md").touch()
    with pytest.raises(InputError, match=expected) as caught:
        open_evaluation_set(spec.format(tmp_path), size=8)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match="nowhere"):
        open_evaluation_set(spec.format(tmp_path / "nowhere"), size=8)

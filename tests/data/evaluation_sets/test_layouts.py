"""Small made-up data sets in exactly the layout of the real ones."""

import io
import json
import re
import sys

import numpy as np
import pytest
from PIL import Image

from asym_jax.data.evaluation_sets.imagenet import choose
from asym_jax.data.evaluation_sets.named import open_evaluation_set
from asym_jax.data.prepared import PreparedSource
from asym_jax.errors import InputError
from tests.data.evaluation_sets.layouts import colour, number_of, write_mask, write_picture

CLASSES = {1: "n02", 2: "n01", 3: "n02", 4: "n01", 5: "n02", 6: "n02", 7: "n03"}
"""Made-up classes of seven pictures of ImageNet, short for n01440764 and the like."""


def val(number):
    return f"ILSVRC2012_val_{number:08}"


def synset(label):
    return f"n0000000{label[-1]}"


@pytest.fixture(params=["flat", "classes", "val"])
def imagenet(request, tmp_path):
    for number, label in CLASSES.items():
        place = {"flat": tmp_path, "classes": tmp_path / synset(label), "val": tmp_path / "val"}[request.param]
        write_picture(place / f"{val(number)}.JPEG", number)
    return tmp_path


def test_imagenet_flat_and_in_folders_is_one_set(imagenet):
    found = open_evaluation_set(f"imagenet:{imagenet}", size=8)
    assert [found.name(i) for i in range(7)] == [val(number) for number in CLASSES]
    assert [number_of(found[i].pixels) for i in range(7)] == list(CLASSES)


@pytest.mark.parametrize("labels", ["val.txt", "ILSVRC2012_validation_ground_truth.txt", "LOC_val_solution.csv"])
def test_a_few_of_each_class(imagenet, labels):
    lines = {
        "val.txt": [f"{val(number)}.JPEG {label[-1]}" for number, label in CLASSES.items()],
        "ILSVRC2012_validation_ground_truth.txt": [label[-1] for label in CLASSES.values()],
        "LOC_val_solution.csv": ["ImageId,PredictionString"]
        + [f"{val(n)},{synset(c)} 8 1 9 7 " for n, c in reversed(CLASSES.items())],
    }[labels]
    (imagenet / labels).write_text("\n".join(lines) + "\n")
    chosen = open_evaluation_set(f"imagenet:{imagenet}#3", size=8, seed=5)
    names = [chosen.name(i) for i in range(len(chosen))]
    of_class = [CLASSES[int(name[-8:])] for name in names]
    assert names == sorted(names) and sorted(of_class) == ["n01"] * 2 + ["n02"] * 3 + ["n03"]
    assert [number_of(chosen[i].pixels) for i in range(6)] == [int(name[-8:]) for name in names]
    one = {open_evaluation_set(f"imagenet:{imagenet}#1", size=8, seed=seed).name(0) for seed in range(8)}
    assert len(one) > 1  # other seeds, other choices


def test_the_choice_in_a_class_does_not_depend_on_the_others():
    classes = {f"picture {i}": f"{i % 4}" for i in range(400)}
    chosen = choose(classes, 3, 0)
    assert len(chosen) == 12 and chosen == choose(dict(reversed(classes.items())), 3, 0)
    alone = choose({name: label for name, label in classes.items() if label == "2"}, 3, 0)
    assert alone == {name for name in chosen if classes[name] == "2"}
    counts = np.zeros(100)
    for seed in range(1000):
        for name in choose({name: label for name, label in classes.items() if label == "0"}, 3, seed):
            counts[int(name.split()[1]) // 4] += 1
    assert counts.min() > 8 and counts.max() < 62  # 30 each


def test_unknown_classes_and_bad_numbers_are_refused(tmp_path):
    for number in CLASSES:
        write_picture(tmp_path / f"{val(number)}.JPEG", number)
    with pytest.raises(InputError, match="the classes are not known.*val.txt"):
        open_evaluation_set(f"imagenet:{tmp_path}#3", size=8)
    (tmp_path / "val.txt").write_text(f"{val(1)}.JPEG 3\n")
    with pytest.raises(InputError, match=f"val.txt tells no class for {val(2)}.JPEG"):
        open_evaluation_set(f"imagenet:{tmp_path}#3", size=8)
    with pytest.raises(InputError, match="expected a number of pictures per class after #"):
        open_evaluation_set(f"imagenet:{tmp_path}#all", size=8)


def test_places_prefers_256_pixels_and_enlarges_them(tmp_path):
    for number in (1, 2):
        write_picture(tmp_path / "val_256" / f"Places365_val_{number:08}.jpg", number, 256, 256)
        write_picture(tmp_path / "val_large" / f"Places365_val_{number:08}.jpg", number + 10, 600, 512)
    for place, numbers in ((tmp_path, (1, 2)), (tmp_path / "val_large", (11, 12))):
        found = open_evaluation_set(f"places365:{place}", size=512)
        assert [found.name(i) for i in range(2)] == ["Places365_val_00000001", "Places365_val_00000002"]
        assert [number_of(found[i].pixels) for i in range(2)] == list(numbers) and found[0].pixels.shape == (512, 512, 3)
        assert "enlarge_256" in repr(found)


def test_pictures_of_one_name_are_refused(monkeypatch):
    """Folders and extensions are no part of the names of prepared pictures, and a name may be missing."""

    class Prepared(PreparedSource):
        split = "validation"
        files = ("a/1.jpg", "b/2.jpg", "b/1.png", "", "c/2.jpg", "3.jpg")

        def __init__(self):
            pass

        def __len__(self):
            return len(self.files)

        def text(self, index, feature):
            return self.files[index]

    monkeypatch.setattr("asym_jax.data.evaluation_sets.places.open_prepared", lambda name: Prepared())
    said = "^places365:tfds:set: 2 names belong to several pictures: 1, 2. Each needs a name of its own$"
    with pytest.raises(InputError, match=said):
        open_evaluation_set("places365:tfds:set", size=256)
    monkeypatch.setattr(Prepared, "files", ("a/1.jpg", "", "3.jpg"))
    found = open_evaluation_set("places365:tfds:set", size=256)
    assert [found.name(i) for i in range(3)] == ["1", "validation_000001", "3"]


def test_places_as_tensorflow_datasets_prepares_it(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")

    class Places365Small(tfds.core.GeneratorBasedBuilder):
        """The features and splits of the real one."""

        name = "places365_small"
        VERSION = tfds.core.Version("2.1.0")

        def _info(self):
            shape, label = (256, 256, 3), tfds.features.ClassLabel(num_classes=365)
            features = {"image": tfds.features.Image(shape=shape), "label": label, "filename": tfds.features.Text()}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, manager):
            return {"validation": self._generate_examples("val", 3), "train": self._generate_examples("data", 1)}

        def _generate_examples(self, kind, count):
            for number in range(1, count + 1):
                file = io.BytesIO()
                Image.new("RGB", (256, 256), colour(number)).save(file, "PNG")
                file.seek(0)
                name = f"{kind}_256/Places365_{kind}_{number:08}.jpg"
                yield name, {"image": file, "label": 0, "filename": name}

    Places365Small(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    assert "tensorflow" not in sys.modules
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    for spec in ("tfds:", "tfds:places365_small", f"tfds:{tmp_path}/places365_small/2.1.0/validation"):
        found = open_evaluation_set(f"places365:{spec}", size=256)
        assert len(found) == 3
        assert {found[i].name: number_of(found[i].pixels) for i in range(3)} == {
            f"Places365_val_{number:08}": number for number in (1, 2, 3)
        }
    assert len(open_evaluation_set("places365:tfds:places365_small/train", size=256)) == 1
    name = found.source.entry_name(1)
    monkeypatch.setattr(tfds.core.data_sources.base.BaseDataSource, "__getitem__", lambda *_: {"image": b"cut", "filename": b"f"})
    with pytest.raises(InputError, match=f"^{re.escape(name)} cannot be read"):
        found[1]
    with pytest.raises(InputError, match="no prepared data set"):
        open_evaluation_set("places365:tfds:nowhere", size=256)


@pytest.fixture
def cocoee(tmp_path):
    for number, place in ((283, 1), (1051688, 2)):
        write_picture(tmp_path / "GT_3500" / f"{number:012}_GT.png", place, 32, 32)
        write_mask(tmp_path / "Mask_bbox_3500" / f"{number:012}_mask.png", (4, 8, 12, 16 + place), 32, 32)
        write_picture(tmp_path / "Ref_3500" / f"{number:012}_ref.png", place + 10, 20, 9)
    return tmp_path


def test_cocoee(cocoee):
    found = open_evaluation_set(f"cocoee:{cocoee}", size=32)
    assert [found.name(i) for i in range(2)] == ["000000000283", "000001051688"]
    for i, example in enumerate(found[i] for i in range(2)):
        assert number_of(example.pixels) == i + 1
        assert example.reference.shape == (9, 20, 3) and number_of(example.reference) == i + 11
        assert example.mask.shape == (32, 32, 1) and example.mask.sum() == 8 * (9 + i) and example.mask[8, 4] == 1
    drawn = open_evaluation_set(f"cocoee:{cocoee}", size=32, masks="full")
    assert drawn[0].mask.min() == 1
    with pytest.raises(InputError, match="000000000283: it is 32 x 32 pixels, and must be 512 x 512"):
        open_evaluation_set(f"cocoee:{cocoee}", size=512)[0]


def test_an_incomplete_triple_is_found_before_the_evaluation(cocoee):
    (cocoee / "Ref_3500" / "000000000283_ref.png").unlink()
    with pytest.raises(InputError, match="1 of 4 files are missing; the first is .*Ref_3500/000000000283_ref.png"):
        open_evaluation_set(f"cocoee:{cocoee}", size=32)


def test_a_broken_reference_is_named(cocoee):
    (cocoee / "Ref_3500" / "000000000283_ref.png").write_bytes(b"no")
    with pytest.raises(InputError, match="Ref_3500/000000000283_ref.png cannot be read"):
        open_evaluation_set(f"cocoee:{cocoee}", size=32)[0]


def entry(number, split, folder, captions):
    """As in Karpathy's file, with all that we do not need."""
    sentences = [
        {"tokens": raw.lower().split(), "raw": raw, "imgid": number, "sentid": 10 * number + j} for j, raw in enumerate(captions)
    ]
    return {
        "filepath": folder,
        "sentids": [sentence["sentid"] for sentence in sentences],
        "filename": f"COCO_{folder}_{number:012}.jpg",
        "imgid": number,
        "split": split,
        "sentences": sentences,
        "cocoid": number,
    }


@pytest.fixture(params=["", "karpathy"])
def karpathy(request, tmp_path):
    images = [
        entry(7, "test", "val2014", ["A man on a moped. ", "Man riding"]),
        entry(3, "train", "train2014", ["Never read"]),
        entry(5, "test", "val2014", ["A cat", "Two cats", "Cat\n"]),
        entry(6, "restval", "val2014", ["Not read"]),
    ]
    (tmp_path / request.param).mkdir(exist_ok=True)
    (tmp_path / request.param / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))
    for number in (5, 7):
        place = tmp_path / ("images" if request.param else "") / "val2014" / f"COCO_val2014_{number:012}.jpg"
        write_picture(place, number)
    return tmp_path


def test_karpathys_test_pictures_with_their_captions(karpathy):
    found = open_evaluation_set(f"coco-karpathy:{karpathy}", size=8)
    assert [found.name(i) for i in range(2)] == ["COCO_val2014_000000000007", "COCO_val2014_000000000005"]
    assert found[0].captions == ("A man on a moped.", "Man riding") and found[1].captions == ("A cat", "Two cats", "Cat")
    assert [number_of(found[i].pixels) for i in range(2)] == [7, 5]


def test_karpathys_pictures_may_have_masks(karpathy):
    """Without any, a task that needs some would have nothing to say of them."""
    found = open_evaluation_set(f"coco-karpathy:{karpathy}", size=8, masks="full")
    assert [found[i].mask.mean() for i in range(2)] == [1, 1] and found[0].captions == ("A man on a moped.", "Man riding")
    assert open_evaluation_set(f"coco-karpathy:{karpathy}", size=8)[0].mask is None


def test_each_caption_is_an_example(karpathy):
    found = open_evaluation_set(f"coco-captions:{karpathy}", size=8)
    assert len(found) == 5
    assert [found.captions(i) for i in range(5)] == [("A man on a moped.",), ("Man riding",), ("A cat",), ("Two cats",), ("Cat",)]
    names = [found.name(i) for i in range(5)]
    assert names[:3] == ["COCO_val2014_000000000007_0", "COCO_val2014_000000000007_1", "COCO_val2014_000000000005_0"]
    example = found[3]
    assert (example.index, example.name, example.captions, number_of(example.pixels)) == (3, names[3], ("Two cats",), 5)
    with pytest.raises(IndexError):
        found[5]


def test_what_is_wrong_with_captions_is_said(karpathy):
    with pytest.raises(InputError, match="no split 'tests'; it has restval, test, train"):
        open_evaluation_set(f"coco-karpathy:{karpathy}#tests", size=8)
    with pytest.raises(InputError, match="1 of 1 files are missing; the first is .*train2014/COCO_train2014_000000000003.jpg"):
        open_evaluation_set(f"coco-karpathy:{karpathy}#train", size=8)
    with pytest.raises(InputError, match="has an example for each caption, to be drawn whole; for masks, give coco-karpathy:"):
        open_evaluation_set(f"coco-captions:{karpathy}", size=8, masks="full")
    next(karpathy.rglob("dataset_coco.json")).write_text('{"annotations": []}')
    with pytest.raises(InputError, match="is not Karpathy's dataset_coco.json .KeyError: 'images'"):
        open_evaluation_set(f"coco-karpathy:{karpathy}", size=8)

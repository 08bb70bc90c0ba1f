"""Elements of data sets of every common form; a broken one has a reason, and the next one stands in for it."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asym_jax.data.content import to_picture
from asym_jax.data.objects import ObjectSource
from asym_jax.data.pictures import UnreadablePicture
from asym_jax.data.sources import split

PIXELS = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)


def encoded(pixels: np.ndarray = PIXELS) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        PIXELS,
        encoded(),
        bytearray(encoded()),
        Image.fromarray(PIXELS),
        PIXELS / 255,
        (PIXELS / 255).astype(np.float32),
        {"label": 3, "image": encoded()},
        {"bytes": encoded(), "path": None},
        {"image": {"bytes": encoded(), "path": "a.png"}},
        (Image.fromarray(PIXELS), 7),
        np.dstack([PIXELS, np.full((4, 5), 255, np.uint8)]),
    ],
    ids=["array", "bytes", "bytearray", "pillow", "float64", "float32", "record", "struct", "nested", "pair", "opaque"],
)
def test_every_form_gives_the_same_picture(content):
    picture = to_picture(content, "x")
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, PIXELS)


def test_a_path_is_read_and_grey_becomes_colour(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded())
    np.testing.assert_array_equal(to_picture({"bytes": None, "path": str(tmp_path / "a.png")}, "x"), PIXELS)
    np.testing.assert_array_equal(to_picture(PIXELS[..., 0], "x"), np.repeat(PIXELS[..., :1], 3, axis=2))


NAN, INFINITE, SIGNED = PIXELS / 255, PIXELS / 255, PIXELS / 127.5 - 1
NAN[1, 2, 0], INFINITE[0, 0, 0] = np.nan, np.inf


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (NAN, "1 values are NaN or infinite"),
        (INFINITE, "NaN or infinite"),
        (SIGNED, r"from -1 to .*agreed range is \[0, 1\]"),
        (PIXELS.astype(np.float32), "agreed range"),
        (PIXELS.astype(np.int64), "type int64"),
        (PIXELS.transpose(2, 0, 1), r"shape \(3, 4, 5\)"),
        (PIXELS[:0], "shape"),
        (encoded()[:45], "truncated|UnidentifiedImageError|OSError"),
        ({"label": 3}, "no picture under image.*it has label"),
        (None, "NoneType is no picture"),
        ("a.png", "str is no picture"),
    ],
)
def test_what_is_no_picture_has_a_reason(content, reason):
    with pytest.raises(UnreadablePicture, match=reason) as caught:
        to_picture(content, "element 3")
    assert "element 3" in str(caught.value)


def test_a_nan_picture_is_replaced_and_counted():
    bright = np.full((4, 4, 3), 1.0)
    source = ObjectSource([NAN, bright, bright * 0.2], name="mine")
    assert [int(source[i].mean()) for i in range(3)] == [255, 255, 51]
    assert list(source.skipped) == ["mine[0]"] and "NaN" in source.skipped["mine[0]"]


class Failing:
    """Element 1 cannot be fetched."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> np.ndarray:
        if index == 1:
            raise ConnectionError("gone")
        return np.full((2, 2, 3), index, np.uint8)


def test_errors_of_the_object_count_as_unreadable_and_parts_do_not_mix():
    training, held_out = split(ObjectSource(Failing()), 1)
    assert [int(training[i].mean()) for i in range(2)] == [0, 0] and int(held_out[0].mean()) == 2
    assert "ConnectionError: gone" in training.skipped["Failing of 3[1]"] and held_out.skipped == {}
    assert repr(training) == "ObjectSource(Failing of 3, entries 0 to 2)"


def test_an_unreadable_picture_survives_the_way_out_of_another_process():
    import pickle

    error = pickle.loads(pickle.dumps(UnreadablePicture(Path("a"), "b")))
    assert (error.path, error.reason, str(error)) == (Path("a"), "b", "a: b")

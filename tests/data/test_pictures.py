"""Files of every common kind, made on the fly."""

import re

import numpy as np
import pytest
from PIL import Image

from asym_jax.data.pictures import UnreadablePicture, list_pictures, read_picture
from asym_jax.errors import InputError


def test_a_colour_png_comes_back_exactly(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = read_picture(tmp_path / "a.png")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, pixels)


def test_cmyk_jpeg_keeps_its_colour(tmp_path):
    # No cyan, all magenta, half the yellow, no black: R 255, G 0, B 127.
    Image.new("CMYK", (16, 16), (0, 255, 128, 0)).save(tmp_path / "a.jpg", quality=95)
    np.testing.assert_allclose(read_picture(tmp_path / "a.jpg").mean((0, 1)), [255, 0, 127], atol=6)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path, suffix):
    values = np.array([[0, 128, 129, 32768, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a{suffix}")
    expected = [0, 0, 1, 128, 255]  # 255 / 65535 times the value, to the nearest
    np.testing.assert_array_equal(read_picture(tmp_path / f"a{suffix}"), np.repeat(np.array(expected)[None, :, None], 3, axis=2))


@pytest.mark.parametrize(
    ("mode", "pixel", "expected"),
    [
        ("L", 90, (90, 90, 90)),
        ("1", 1, (255, 255, 255)),
        ("LA", (100, 0), (255, 255, 255)),
        ("LA", (100, 255), (100, 100, 100)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("RGBA", (0, 100, 200, 51), (204, 224, 244)),  # a fifth of the colour on four fifths of white
    ],
)
def test_grey_and_transparency(tmp_path, mode, pixel, expected):
    Image.new(mode, (3, 2), pixel).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), np.broadcast_to(np.uint8(expected), (2, 3, 3)))


def test_transparent_palette_entries_become_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    image.save(tmp_path / "a.png", transparency=bytes([0, 255]))  # as bytes: Pillow warns about these when converting to RGB
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), [[[255, 255, 255], [40, 50, 60]]])


def test_exif_turns_the_picture_upright(tmp_path):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 255  # stored white on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter: white on top
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    read = read_picture(tmp_path / "a.jpg")
    assert read.shape == (32, 16, 3)
    assert read[:14].min() > 240 and read[18:].max() < 15


def broken_files(folder):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    noise.save(folder / "whole.jpg")
    noise.save(folder / "whole.png")
    yield "half.jpg", (folder / "whole.jpg").read_bytes()[:2000]
    yield "half.png", (folder / "whole.png").read_bytes()[:2000]
    yield "text.jpg", b"this is no picture"
    yield "empty.png", b""
    header = bytearray((folder / "whole.png").read_bytes())
    header[20] ^= 255  # a wrong checksum in the first chunk, which Pillow reports as SyntaxError inside
    yield "checksum.png", bytes(header)


def test_broken_files_are_unreadable_with_path_and_reason(tmp_path):
    for name, content in list(broken_files(tmp_path)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadablePicture, match=name) as caught:
            read_picture(tmp_path / name)
        assert caught.value.path == tmp_path / name and len(caught.value.reason) > 10
    with pytest.raises(UnreadablePicture, match="No such file"):
        read_picture(tmp_path / "absent.png")


def test_huge_pictures_are_refused_and_large_ones_read_silently(tmp_path, monkeypatch):
    Image.new("RGB", (30, 30)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)  # Pillow warns above this, and refuses twice as much
    assert read_picture(tmp_path / "a.png").shape == (30, 30, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    with pytest.raises(UnreadablePicture, match="DecompressionBomb"):
        read_picture(tmp_path / "a.png")


def test_folders_are_searched_deeply_in_order_without_hidden_files(tmp_path):
    for name in ["b/2.JPG", "b/1.png", "a.webp", ".hidden.png", "b/notes.txt", ".cache/3.png"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    assert list_pictures(tmp_path) == [tmp_path / name for name in ["a.webp", "b/1.png", "b/2.JPG"]]


def test_a_list_is_relative_to_its_own_folder(tmp_path):
    (tmp_path / "list.txt").write_text("z.png\n\nsub/a.png\n/elsewhere/b.png\n")
    assert [str(path) for path in list_pictures(tmp_path / "list.txt")] == [
        f"{tmp_path}/z.png",
        f"{tmp_path}/sub/a.png",
        "/elsewhere/b.png",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [("absent", "no such folder"), ("empty", "no pictures in"), ("empty.txt", "is empty"), ("data.csv", "neither a folder")],
)
def test_nothing_to_list_is_an_input_error(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").touch()
    (tmp_path / "data.csv").touch()
    with pytest.raises(InputError, match=f"{message}.*") as caught:
        list_pictures(tmp_path / name)
    assert re.search(re.escape(str(tmp_path / name)), str(caught.value))

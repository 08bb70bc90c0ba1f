"""Sheets of pictures, pixel by pixel."""

import numpy as np
import pytest
from PIL import Image

from asym_jax.sheets import HEADER, MARGIN, draw_sheet, masked_pixels, save_picture


def pictures(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    # Without 255, so that the white of the paper is not in them.
    return np.random.default_rng(seed).integers(0, 255, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width", "factor"), [(160, 200, 1), (200, 159, 2), (50, 40, 4), (300, 400, 1)])
def test_every_picture_is_in_its_cell_enlarged_by_a_whole_factor(height, width, factor):
    columns = {"original": pictures(2, height, width), "ours": pictures(2, height, width, seed=1)}
    sheet = np.asarray(draw_sheet(columns))
    tall, wide = height * factor, width * factor
    assert sheet.shape == (HEADER + 2 * (tall + MARGIN), MARGIN + 2 * (wide + MARGIN), 3)
    paper = np.ones(sheet.shape[:2], bool)
    for x, column in enumerate(columns.values()):
        for y, picture in enumerate(column):
            top, left = HEADER + y * (tall + MARGIN), MARGIN + x * (wide + MARGIN)
            cell = sheet[top : top + tall, left : left + wide]
            np.testing.assert_array_equal(cell, picture.repeat(factor, axis=0).repeat(factor, axis=1))
            paper[top : top + tall, left : left + wide] = False
    assert (sheet[HEADER:][paper[HEADER:]] == 255).all()


def test_columns_are_labelled():
    def header(name: str) -> np.ndarray:
        return np.asarray(draw_sheet({name: pictures(1, 160, 160)}))[:HEADER]

    assert (header("ours") < 128).any()
    assert (header("") == 255).all()
    assert (header("ours") != header("plain VAE")).any()


def test_the_decoder_sees_grey_in_the_hole():
    pixels = pictures(1, 4, 4)
    mask = np.zeros((1, 4, 4, 1), np.float32)
    mask[0, :2] = 1
    mask[0, 2] = 0.5
    masked = masked_pixels(pixels, mask)
    assert masked.dtype == np.uint8
    assert (masked[0, :2] == 128).all()  # 127.5 rounded to even
    np.testing.assert_array_equal(masked[0, 3], pixels[0, 3])
    np.testing.assert_allclose(masked[0, 2], (pixels[0, 2] + 127.5) / 2, atol=0.5)


def test_a_picture_is_whole_or_not_there(tmp_path, monkeypatch):
    picture = Image.fromarray(pictures(1, 8, 8)[0])
    path = tmp_path / "new" / "folder" / "step_1.png"
    save_picture(picture, path)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(picture))
    before = path.read_bytes()

    def fail(self, place, format):
        place.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_picture(picture, path)
    assert path.read_bytes() == before

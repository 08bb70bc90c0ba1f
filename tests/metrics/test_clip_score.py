"""The CLIP score's crops and resizes against torch and Pillow, and its arithmetic by pencil."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from asym_jax.metrics.clip_score import Box, box_of, clip_score, embedded, reference_inputs, reference_pixels, region_inputs
from asym_jax.models.clip_vision import DEVIATION, MEAN, ClipVision

BOXES = [Box(3, 40, 5, 61), Box(0, 2, 10, 90), Box(10, 74, 0, 100)]


def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 75, 101, 3), dtype=np.uint8)


@pytest.mark.parametrize("variant", ["paint_by_example", "paint_by_example_antialiased"])
@pytest.mark.parametrize("side", [24, 224])
def test_regions_agree_with_torch(variant, side):
    torch = pytest.importorskip("torch")
    got = jax.jit(region_inputs, static_argnames=("side", "variant"))(
        jnp.asarray(pictures()), jnp.asarray(BOXES, jnp.int32), side=side, variant=variant
    )
    for picture, box, mine in zip(pictures(), BOXES, got, strict=True):
        tensor = torch.from_numpy(picture.transpose(2, 0, 1) / np.float32(255))
        mean, deviation = (torch.tensor(values).reshape(3, 1, 1) for values in (MEAN, DEVIATION))
        crop = ((tensor - mean) / deviation)[:, box.top : box.bottom, box.left : box.right]
        resized = torch.nn.functional.interpolate(
            crop[None], (side, side), mode="bilinear", align_corners=False, antialias=variant.endswith("antialiased")
        )
        np.testing.assert_allclose(mine, resized[0].numpy().transpose(1, 2, 0), atol=1e-4)  # the values span 4


def test_boxes_lose_their_last_row_and_column():
    mask = np.zeros((20, 30), bool)
    mask[4:10, 7:25] = True
    indices = np.nonzero(mask.ravel())[0]  # as the test bench finds the box, from the first and the last pixel
    (top, left), (bottom, right) = (np.unravel_index(i, mask.shape) for i in (indices.min(), indices.max()))
    assert box_of(mask) == Box(top, bottom, left, right) == Box(4, 9, 7, 24)
    for wrong in (np.zeros_like(mask), mask & (np.arange(30) == 7)[None]):
        with pytest.raises(ValueError, match="at least two pixels"):
            box_of(wrong)


def test_references_are_pillows():
    example = pictures()[0]
    shrunk = reference_pixels(example, side=16)
    np.testing.assert_array_equal(shrunk, np.asarray(Image.fromarray(example).resize((16, 16))))  # its default filter
    white = reference_inputs(jnp.full((1, 4, 4, 3), 255, jnp.uint8))
    np.testing.assert_allclose(white[0, 0, 0], [(1 - mean) / deviation for mean, deviation in zip(MEAN, DEVIATION, strict=True)])


def test_score_by_pencil():
    a = jnp.array([[3.0, 4.0], [1.0, 0.0], [2.0, 2.0]])
    b = jnp.array([[4.0, 3.0], [-5.0, 0.0], [7.0, 7.0]])
    np.testing.assert_allclose(clip_score(a, b), [96, -100, 100], rtol=1e-6)  # not cut off at 0
    np.testing.assert_allclose(clip_score(1e3 * a, 1e-3 * b), clip_score(a, b), rtol=1e-6)


def test_a_picture_is_most_like_itself():
    model = ClipVision(layers=1, width=32, heads=2, patch=8, image_size=24, projection=16)
    pixels = jnp.asarray(pictures())
    inputs = region_inputs(pixels, jnp.asarray(BOXES, jnp.int32), side=24)
    shapes = jax.eval_shape(model.init, jax.random.key(0), inputs)["params"]
    random = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: random.normal(scale=0.3, size=leaf.shape).astype(np.float32), shapes)
    features = jax.jit(embedded, static_argnums=0)(model, params, inputs)
    np.testing.assert_allclose(clip_score(features, features), 100, rtol=1e-6)
    assert np.all(clip_score(features, features[::-1])[jnp.array([0, 2])] < 100)

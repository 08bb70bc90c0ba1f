"""The three ways to resize against the packages that they come from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from asym_jax.metrics.fid import look
from asym_jax.metrics.inception_inputs import MODES, inception_inputs, resizing
from asym_jax.models.inception import SIDE, Inception

SIZES = [(256, 256), (512, 512), (224, 320)]


@pytest.fixture(scope="module")
def tools():
    from tests.models import torch_inception  # late: it needs torch

    torch_inception.fidelity("feature_extractor_inceptionv3")
    return torch_inception


def pictures(size):
    """Smooth and busy parts side by side, with hard edges."""
    random = np.random.default_rng(0)
    height, width = size
    y, x = np.mgrid[:height, :width]
    smooth = 127 + 120 * np.sin(x / 7 + np.arange(3)[:, None, None]) * np.cos(y / 5)
    busy = random.integers(0, 256, (3, height, width))
    return np.where(x < width // 2, smooth, busy).astype(np.uint8).transpose(1, 2, 0)[None]


def by_torch(tools, pixels, mode):
    """What pytorch-fid and torch-fidelity give their networks, in channels-last."""
    torch = tools.torch
    channels_first = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
    if mode == "legacy_pytorch":
        resized = torch.nn.functional.interpolate(channels_first / 255, (SIDE, SIDE), mode="bilinear", align_corners=False)
        return (2 * resized - 1).numpy().transpose(0, 2, 3, 1)
    rule = tools.fidelity("interpolate_compat_tensorflow").interpolate_bilinear_2d_like_tensorflow1x
    resized = rule(channels_first.float(), size=(SIDE, SIDE), align_corners=False)
    return ((resized - 128) / 128).numpy().transpose(0, 2, 3, 1)


def by_pillow(pixels):
    """clean-fid: each channel as float32 through Pillow's bicubic filter, clipped; its network scales."""
    channels = [
        Image.fromarray(pixels[0, ..., i].astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for i in range(3)
    ]
    return (np.stack([np.asarray(channel) for channel in channels], axis=-1).clip(0, 255)[None] - 128) / 128


def expected(tools, pixels, mode):
    return by_pillow(pixels) if mode == "clean" else by_torch(tools, pixels, mode)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", MODES)
def test_agrees_with_the_package_it_comes_from(tools, size, mode):
    pixels = pictures(size)
    got = jax.jit(inception_inputs, static_argnames="mode")(jnp.asarray(pixels), mode=mode)
    # A two-hundredth of a grey level; torch fuses a product and a sum, which moves single columns by half as much.
    np.testing.assert_allclose(got, expected(tools, pixels, mode), atol=4e-5)


@pytest.mark.parametrize("size", SIZES)
def test_the_three_differ(size):
    pixels = jnp.asarray(pictures(size))
    legacy, tf, clean = (inception_inputs(pixels, mode) for mode in MODES)
    for a, b in ((legacy, tf), (legacy, clean), (tf, clean)):
        assert np.abs(a - b).mean() > 1e-3


def test_by_pencil():
    np.testing.assert_allclose(resizing("legacy_pytorch", 2, 4), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    np.testing.assert_allclose(resizing("tf", 2, 4), [[1, 0], [0.5, 0.5], [0, 1], [0, 1]])
    # Halving 4 pixels: only the filter of "clean" sees more than two of them.
    np.testing.assert_allclose(resizing("legacy_pytorch", 4, 2), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    np.testing.assert_allclose(resizing("tf", 4, 2), [[1, 0, 0, 0], [0, 0, 1, 0]])
    assert (resizing("clean", 4, 2) != 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_from_pixels_to_pool3(tools, size):
    """End to end through two networks of torch with one set of weights; the wrong resize or scale is seen."""
    torch = tools.torch
    state, pixels = tools.random_state(), pictures(size)
    legacy, fidelity = tools.legacy_network(state), tools.fidelity_network(state)
    channels_first = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        wanted = {
            "legacy_pytorch": legacy(channels_first / 255)[0][..., 0, 0].numpy(),
            "tf": fidelity(channels_first)[3].numpy(),
        }
        legacy.resize_input = legacy.normalize_input = False
        clean = torch.from_numpy(by_pillow(pixels).astype(np.float32).transpose(0, 3, 1, 2).copy())
        wanted["clean"] = legacy(clean)[0][..., 0, 0].numpy()
    params, seen = tools.tree_of(state), jax.jit(look, static_argnames="mode")
    got = {mode: np.asarray(seen(params, jnp.asarray(pixels), mode=mode).pool3) for mode in MODES}

    def distance(a, b):
        return np.linalg.norm(a - b) / np.linalg.norm(b)

    exact = {mode: distance(got[mode], wanted[mode]) for mode in MODES}
    wrong = {f"{a} for {b}": distance(got[a], wanted[b]) for a in MODES for b in MODES if a != b}
    scaled = inception_inputs(jnp.asarray(pixels), "tf") * (128 / 127.5) + (128 / 127.5 - 1)
    pool3 = np.asarray(jax.jit(Inception().apply)({"params": params}, scaled).pool3)
    wrong["v / 127.5 - 1 for tf"] = distance(pool3, wanted["tf"])
    print(size, exact, wrong)
    assert max(exact.values()) < 1e-4
    assert min(wrong.values()) > 1e-3

"""Decoding in windows against decoding at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.models import blocks
from asym_jax.models.autoencoder import AsymmetricAutoencoderKL, AutoencoderKL
from asym_jax.models.tiles import decode_in_tiles
from asym_jax.models.windows import HALO, windows


@pytest.mark.parametrize(("length", "most"), [(10, 10), (40, 20), (41, 17), (256, 64), (23, 9)])
def test_windows_cover_the_axis_with_halos(length, most):
    found = windows(length, most=most)
    assert len({window.size for window in found}) == 1 and found[0].size <= most
    assert [cell for window in found for cell in range(*window.kept)] == list(range(length))
    for window in found:
        assert window.start >= 0 and window.start + window.size <= length
        assert window.kept[0] - window.start >= HALO or window.start == 0 == window.kept[0]
        assert window.start + window.size - window.kept[1] >= HALO or window.kept[1] == length


def test_too_small_windows_are_refused():
    with pytest.raises(ValueError, match="leave nothing between two halos"):
        windows(40, most=2 * HALO)


@pytest.mark.slow
@pytest.mark.parametrize("conditional", [False, True])
def test_same_picture_as_at_once(conditional, monkeypatch):
    """With statistics that differ much from window to window, and attention for a part of the positions at a time."""
    monkeypatch.setattr(blocks, "SCORES", 2**12)
    random = np.random.default_rng(0)
    height, width = 22, 30
    plain, ours = AutoencoderKL((4, 8), 1, norm_num_groups=4), AsymmetricAutoencoderKL((4, 8), 1, (4, 8), 1, norm_num_groups=4)
    model = ours if conditional else plain
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))["params"]
    slope = np.linspace(0, 4, width, dtype=np.float32)[:, None]
    latents = jnp.asarray(random.normal(size=(2, height, width, 4)).astype(np.float32) * slope + slope)
    condition = {}
    if conditional:
        mask = np.zeros((2, 2 * height, 2 * width, 1), np.float32)
        mask[:, 9:31, 13:41] = 1
        mask[1] *= 0.5
        image = random.uniform(-1, 1, (2, 2 * height, 2 * width, 3)).astype(np.float32)
        condition = {"image": jnp.asarray(image), "mask": jnp.asarray(mask)}
    whole = jax.jit(lambda p, z, c: model.apply({"params": p}, z, **c, method="decode"))(params, latents, condition)
    found = decode_in_tiles(model, params, latents, window=16, **condition)
    np.testing.assert_allclose(found, whole, atol=2e-5)


def test_what_cannot_be_is_refused():
    attentive = AutoencoderKL((4, 8), 1, norm_num_groups=4, up_attention=(False, True))
    with pytest.raises(ValueError, match="self-attention"):
        decode_in_tiles(attentive, {}, jnp.zeros((1, 4, 4, 4)))
    ours = AsymmetricAutoencoderKL((4, 8), 1, (4, 8), 1, norm_num_groups=4)
    with pytest.raises(ValueError, match="go together"):
        decode_in_tiles(ours, {}, jnp.zeros((1, 4, 4, 4)), image=jnp.zeros((1, 8, 8, 3)))
    with pytest.raises(ValueError, match="mask has shape"):
        decode_in_tiles(ours, {}, jnp.zeros((1, 4, 4, 4)), image=jnp.zeros((1, 8, 8, 3)), mask=jnp.zeros((1, 4, 4, 1)))

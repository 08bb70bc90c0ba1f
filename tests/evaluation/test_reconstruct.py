"""The reconstruction task against numpy and scikit-image, on the pictures that it hands out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from asym_jax.errors import InputError
from asym_jax.evaluation import reconstruct as task
from asym_jax.evaluation.pairs import Pairs
from asym_jax.weights.networks import LpipsWeights
from tests.evaluation.tiny import SIZE, decoders, noise

COUNT = 9  # one more than there are devices
NAMES = ("vanilla", "ours")


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """Holes of several sizes; picture 3 is masked everywhere."""
    masks = np.zeros((COUNT, SIZE, SIZE, 1), np.float32)
    for i in range(COUNT):
        masks[i, i:12, 2:9] = 1
    masks[3] = 1
    return Pairs([f"{i}.png" for i in range(COUNT)], noise(COUNT), masks, {"bad.png": "broken", "a.gif": "empty"})


@pytest.fixture(scope="module")
def without_weights(pairs):
    """Two batches of eight, the last one with seven rows of padding: 3 is rounded up to the eight devices."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "lpips_problem", lambda: "put vgg.pth there")
        return task.reconstruct(decoders(), pairs, batch_size=3, shown=4)


@pytest.fixture(scope="module")
def with_weights(pairs):
    """One batch of sixteen, and the mean absolute difference in place of LPIPS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "lpips_problem", lambda: None)
        patch.setattr(task, "load_lpips", lambda: LpipsWeights({}, (), verified=False))
        patch.setattr(task, "lpips", lambda vgg, heads, a, b: jnp.mean(jnp.abs(a - b), axis=(1, 2, 3)))
        return task.reconstruct(decoders(), pairs, batch_size=9, shown=100)


def in_unit_range(pixels: np.ndarray) -> np.ndarray:
    return pixels / 127.5 - 1


def test_numbers_agree_with_numpy_and_skimage(with_weights, pairs):
    original, kept = in_unit_range(pairs.pixels), np.broadcast_to(pairs.masks == 0, pairs.pixels.shape)
    assert tuple(row["decoder"] for row in with_weights.rows) == NAMES
    for row in with_weights.rows:
        decoded = with_weights.pictures[row["decoder"]]
        assert decoded.shape == pairs.pixels.shape and decoded.std() > 10
        squares = (original - in_unit_range(decoded)) ** 2
        errors = [squares[i][kept[i]].mean() if kept[i].any() else np.nan for i in range(COUNT)]
        np.testing.assert_allclose(with_weights.errors[row["decoder"]], errors, rtol=1e-12)
        np.testing.assert_allclose(row["pre_error"], squares[kept].mean(), rtol=1e-12)
        np.testing.assert_allclose(row["pre_error_mean_of_ratios"], np.nanmean(errors), rtol=1e-12)
        assert (row["images"], row["pre_error_skipped"], row["psnr_infinite"]) == (COUNT, 1, 0)
        psnr = [peak_signal_noise_ratio(a, b) for a, b in zip(pairs.pixels, decoded, strict=True)]
        np.testing.assert_allclose(row["psnr"], np.mean(psnr), rtol=1e-6)
        settings = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=-1)
        ssim = [structural_similarity(a, b, **settings) for a, b in zip(pairs.pixels, decoded, strict=True)]
        np.testing.assert_allclose(row["ssim"], np.mean(ssim), atol=1e-5)
        # The stand-in for LPIPS is the L1 distance: its mean must not see the padding either.
        distance = np.abs(original - in_unit_range(decoded)).mean()
        np.testing.assert_allclose([row["l1"], row["lpips"]], distance, rtol=1e-5)


def test_padding_changes_nothing(without_weights, with_weights):
    for few, many in zip(without_weights.rows, with_weights.rows, strict=True):
        assert few["decoder"] == many["decoder"]
        for name in few.keys() - {"decoder", "lpips"}:
            np.testing.assert_allclose(few[name], many[name], rtol=1e-3, err_msg=name)
    for name in NAMES:
        assert len(without_weights.pictures[name]) == 4  # `shown` of nine
        difference = without_weights.pictures[name].astype(int) - with_weights.pictures[name][:4]
        assert np.abs(difference).max() <= 1
        assert without_weights.errors[name].shape == (COUNT,)


@jax.jit
def by_hand(vae_params, params, image, mask):
    both = decoders()
    latents = both.vae.apply({"params": vae_params}, image, method="encode").mean
    plain = both.vae.apply({"params": vae_params}, latents, method="decode")
    return plain, both.model.apply({"params": params}, latents, image=image, mask=mask, method="decode")


def test_the_plain_decoder_comes_first_and_ours_sees_the_kept_pixels(with_weights, pairs):
    both = decoders()
    image, mask = np.float32(in_unit_range(pairs.pixels[:4])), pairs.masks[:4]
    for name, decoded in zip(NAMES, by_hand(both.vae_params, both.params, image, mask), strict=True):
        levels = np.rint((np.clip(decoded, -1, 1) + 1) * 127.5)
        assert np.abs(levels - with_weights.pictures[name][:4]).max() <= 1


def test_a_metric_without_weights_is_null_and_says_why(without_weights, with_weights):
    assert [row["lpips"] for row in without_weights.rows] == [None, None]
    assert without_weights.skipped == {"lpips": "put vgg.pth there"}
    assert not any("unverified" in note for note in without_weights.notes)
    assert with_weights.skipped == {}
    assert any(note.startswith("unverified: ") for note in with_weights.notes)


def test_unreadable_pictures_are_noted(without_weights):
    assert "2 pictures could not be read and were left out: a.gif, bad.png" in without_weights.notes


def test_rows_have_the_columns_of_results_json(without_weights, with_weights):
    measured = {"images", "pre_error", "psnr", "ssim", "lpips"}
    details = {"pre_error_mean_of_ratios", "pre_error_skipped", "l1", "psnr_infinite"}
    for result in (without_weights, with_weights):
        assert [set(row) for row in result.rows] == [{"decoder"} | measured | details] * 2
        assert {name for row in result.rows for name, value in row.items() if value is None} == set(result.skipped)


@pytest.mark.parametrize("half", ["encoder", "quant_conv"])
def test_a_decoder_of_another_encoder_is_refused(half):
    both = decoders("mine")
    task.require_same_encoder(both)
    path, leaf = jax.tree_util.tree_leaves_with_path(both.params[half])[-1]
    changed = jax.tree_util.tree_map_with_path(lambda p, a: a + 0.1 * (p == path), both.params[half])
    with pytest.raises(InputError, match=f"^mine was not trained for this VAE: their {half}s differ.*--vae"):
        task.require_same_encoder(both._replace(params=both.params | {half: changed}))


def test_an_encoder_of_another_shape_is_refused():
    both = decoders()
    smaller = {"kernel": np.zeros((1, 1, 4, 4), np.float32), "bias": np.zeros(4, np.float32)}
    with pytest.raises(InputError, match="quant_convs differ"):
        task.require_same_encoder(both._replace(params=both.params | {"quant_conv": smaller}))
    fewer = {name: value for name, value in both.params["encoder"].items() if name != "mid_block"}
    with pytest.raises(InputError, match="encoders differ"):
        task.require_same_encoder(both._replace(params=both.params | {"encoder": fewer}))


def test_rounding_to_half_precision_is_no_other_encoder():
    both = decoders()
    task.require_same_encoder(both._replace(params=jax.tree.map(lambda a: np.float32(np.float16(a)), both.params)))

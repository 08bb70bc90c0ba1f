"""Decoders and the autoencoder that they belong to."""

import jax
import numpy as np
import pytest

from asym_jax.errors import InputError
from asym_jax.evaluation.subjects import fingerprint, free_name, load_subjects, require_same_encoder
from tests.evaluation.tiny import save_decoders, subjects


def with_params(params) -> object:
    both = subjects("mine")
    return both._replace(decoders=(both.decoders[0]._replace(params=params),))


@pytest.mark.parametrize("half", ["encoder", "quant_conv"])
def test_a_decoder_of_another_encoder_is_refused(half):
    both = subjects("mine")
    require_same_encoder(both)
    params = both.decoders[0].params
    path, leaf = jax.tree_util.tree_leaves_with_path(params[half])[-1]
    changed = jax.tree_util.tree_map_with_path(lambda p, a: a + 0.1 * (p == path), params[half])
    with pytest.raises(InputError, match=f"^mine was not trained for this VAE: their {half}s differ.*--vae"):
        require_same_encoder(with_params(params | {half: changed}))


def test_an_encoder_of_another_shape_is_refused():
    params = subjects().decoders[0].params
    smaller = {"kernel": np.zeros((1, 1, 4, 4), np.float32), "bias": np.zeros(4, np.float32)}
    with pytest.raises(InputError, match="quant_convs differ"):
        require_same_encoder(with_params(params | {"quant_conv": smaller}))
    fewer = {name: value for name, value in params["encoder"].items() if name != "mid_block"}
    with pytest.raises(InputError, match="encoders differ"):
        require_same_encoder(with_params(params | {"encoder": fewer}))


def test_rounding_to_half_precision_is_no_other_encoder():
    params = subjects().decoders[0].params
    require_same_encoder(with_params(jax.tree.map(lambda a: np.float32(np.float16(a)), params)))


def test_names_are_those_of_folders_made_unique(tmp_path):
    vae, decoder = save_decoders(tmp_path / "masked")
    found = load_subjects([], [str(decoder), str(decoder), str(decoder)], str(vae))
    assert [one.name for one in found.decoders] == ["decoder", "decoder (2)", "decoder (3)"]
    assert found.trained_size == 16
    decoder.rename(tmp_path / "vanilla")  # as the row of the plain decoder is called
    (one,) = load_subjects([], [str(tmp_path / "vanilla")], str(vae)).decoders
    assert one.name == "vanilla (asymmetric)"


def test_decoders_never_share_a_folder():
    """Not even where the names that rows get without condition, or without what folders may not be called, are others'."""
    taken = list(subjects("x:1", "base").decoders)
    assert [free_name(name, taken) for name in ("x_1", "X 1", "base without condition", "Mask", "new")] == [
        "x_1 (2)",
        "X 1",
        "base without condition (2)",
        "Mask (asymmetric)",
        "new",
    ]


def test_the_fingerprint_is_of_names_shapes_and_numbers():
    params = {"a": {"b": np.arange(6, dtype=np.float32)}, "c": np.zeros(2, np.float32)}
    same = {"c": jax.numpy.zeros(2), "a": {"b": jax.numpy.arange(6, dtype=np.float32)}}
    assert fingerprint(params) == fingerprint(same)
    others = [
        {"a": {"b": params["a"]["b"].reshape(2, 3)}, "c": params["c"]},
        {"a": {"x": params["a"]["b"]}, "c": params["c"]},
        {"a": {"b": params["a"]["b"]}, "c": np.float32([0, 1])},
    ]
    assert len({fingerprint(tree) for tree in (params, *others)}) == 4

import functools
import json
import logging
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.errors import InputError
from asym_jax.models.autoencoder import AsymmetricAutoencoderKL
from asym_jax.weights import layouts, load_pretrained, save_pretrained
from tests.weights.trees import drawn, random_like

SMALL = AsymmetricAutoencoderKL((4, 8), 1, (4, 12), 1, norm_num_groups=2)
TOLERANCE = 1e-4


# Unoptimised, because compiling takes most of the time.
@functools.partial(jax.jit, static_argnames="model", compiler_options={"xla_backend_optimization_level": 0})
def everything(model, params, image, mask, latents):
    """Mean and log-variance of the image, the decoded latents, and those decoded with image and mask if the model takes them."""
    posterior = model.apply({"params": params}, image, method="encode")
    decode = functools.partial(model.apply, {"params": params}, latents, method="decode")
    conditional = [decode(image=image, mask=mask)] if isinstance(model, AsymmetricAutoencoderKL) else []
    return [posterior.mean, posterior.logvar, decode(), *conditional]


def everything_by_pytorch(model, image, mask, latents):
    posterior = model.encode(image).latent_dist
    conditional = (
        [model.decode(latents, image=image, mask=mask).sample] if type(model).__name__ == "AsymmetricAutoencoderKL" else []
    )
    return [posterior.mean, posterior.logvar, model.decode(latents).sample, *conditional]


def assert_same_pictures(pytorch, torch_model, model, params, pictures):
    with pytorch.torch.no_grad():
        expected = everything_by_pytorch(torch_model, *map(pytorch.torch.from_numpy, pictures))
    found = everything(model, params, *(np.moveaxis(array, 1, -1) for array in pictures))
    for ours, theirs in zip(found, expected, strict=True):
        ours, theirs = np.moveaxis(np.asarray(ours), -1, 1), theirs.numpy()
        assert ours.shape == theirs.shape
        assert np.abs(theirs).max() > 0.1  # dead networks agree on zero
        assert np.abs(ours - theirs).max() < TOLERANCE


@pytest.fixture(scope="module", params=["symmetric", "asymmetric"])
def torch_model(request):
    return request.getfixturevalue(f"torch_{request.param}")


@pytest.fixture(scope="module")
def loaded(torch_model, tmp_path_factory):
    """The same model, read by us from the folder that diffusers writes."""
    folder = tmp_path_factory.mktemp("theirs")
    torch_model.save_pretrained(folder)
    assert {path.name for path in folder.iterdir()} == {"config.json", "diffusion_pytorch_model.safetensors"}
    return load_pretrained(str(folder))


@pytest.fixture
def said_by_diffusers():
    """Warnings that PyTorch diffusers logs while the test runs."""
    records: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: records.append(record.getMessage())
    logging.getLogger("diffusers").addHandler(handler)
    yield records
    logging.getLogger("diffusers").removeHandler(handler)


def test_folders_of_pytorch_give_the_same_pictures_here(pytorch, torch_model, loaded, pictures):
    model, params = loaded
    assert type(model).__name__ == type(torch_model).__name__
    assert model.scaling_factor == torch_model.config.scaling_factor and model.sample_size == torch_model.config.sample_size
    assert_same_pictures(pytorch, torch_model, model, params, pictures)


def test_one_picture_for_several_latents_gives_the_pictures_of_pytorch(pytorch, torch_asymmetric, pictures, tmp_path):
    """Which is given the picture once for each of them."""
    torch_asymmetric.save_pretrained(tmp_path)
    model, params = load_pretrained(tmp_path)
    image, mask, latents = (pytorch.torch.from_numpy(array) for array in pictures)
    latents = pytorch.torch.cat([latents, latents.flip(-1)[:1]])
    with pytorch.torch.no_grad():
        expected = torch_asymmetric.decode(latents, image=image[1:].repeat(3, 1, 1, 1), mask=mask[1:].repeat(3, 1, 1, 1)).sample
    latents, image, mask, expected = (np.moveaxis(array.numpy(), 1, -1) for array in (latents, image, mask, expected))

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def decoded(params, latents, image, mask):
        condition = model.apply({"params": params}, image, mask, method="condition")
        return model.apply({"params": params}, latents, condition=condition, method="decode")

    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(decoded(params, latents, image[1:], mask[1:]), expected, atol=TOLERANCE)


def test_our_folders_give_the_same_pictures_in_pytorch(pytorch, torch_model, loaded, pictures, tmp_path, said_by_diffusers):
    model, params = loaded[0], random_like(loaded[1])
    save_pretrained(tmp_path / "new" / "vae", model, params)
    read, report = type(torch_model).from_pretrained(tmp_path / "new" / "vae", output_loading_info=True)
    assert not any(report.values())
    assert [line for line in said_by_diffusers if "accelerate" not in line] == []
    for name, value in torch_model.config.items():
        assert name.startswith("_") or json.dumps(read.config[name]) == json.dumps(value), name
    assert_same_pictures(pytorch, read, model, params, pictures)


def test_pickled_folders_are_read_but_safetensors_preferred(torch_asymmetric, tmp_path):
    torch_asymmetric.save_pretrained(tmp_path, safe_serialization=False)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "diffusion_pytorch_model.bin"}
    _, params = load_pretrained(tmp_path)
    weight = torch_asymmetric.decoder.condition_encoder.layers[4].weight.detach().numpy()
    kernel = params["decoder"]["condition_encoder"]["layers_4"]["kernel"]
    np.testing.assert_array_equal(kernel, weight.transpose(2, 3, 1, 0))

    torch_asymmetric.save_pretrained(tmp_path)
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"not to be read")
    load_pretrained(tmp_path)


@pytest.mark.parametrize("saved", ["float16", "bfloat16"])
def test_half_precision_files_become_float32(pytorch, torch_symmetric, tmp_path, saved):
    half = pytorch.AutoencoderKL.from_config(torch_symmetric.config).to(getattr(pytorch.torch, saved))
    half.save_pretrained(tmp_path)
    model, params = load_pretrained(tmp_path, dtype=jnp.bfloat16)
    assert model.dtype == jnp.bfloat16
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {"float32"}
    np.testing.assert_array_equal(params["quant_conv"]["bias"], half.quant_conv.bias.detach().float().numpy())


def test_parameters_of_another_model_are_not_saved(tmp_path):
    with pytest.raises(InputError, match=r"decoder\.condition_blends\.0\.conv\.bias"):
        save_pretrained(tmp_path / "vae", SMALL.copy(blend="concatenate"), drawn(SMALL))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def saved_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ours") / "vae"
    save_pretrained(folder, SMALL, drawn(SMALL))
    return folder


@pytest.fixture
def saved(saved_once, tmp_path):
    """A folder `vae` with SMALL, the only thing in `tmp_path`; to be spoiled."""
    return shutil.copytree(saved_once, tmp_path / "vae")


def test_tensors_that_do_not_fit_are_named_with_their_file(saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"layers_per_up_block": 2}))
    with pytest.raises(InputError, match=r"vae/diffusion_pytorch_model\.safetensors(.|\n)*up_blocks\.0\.resnets\.2\.conv1"):
        load_pretrained(saved)


def test_a_truncated_safetensors_file_is_refused(saved):
    path = saved / "diffusion_pytorch_model.safetensors"
    whole = path.read_bytes()
    for length in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="diffusion_pytorch_model.safetensors (is|cannot)"):
            load_pretrained(saved)


def test_a_crash_while_writing_leaves_the_old_folder(saved, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def write_half_and_crash(path: Path, tensors, metadata=None) -> None:
        path.write_bytes(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(layouts, "write_safetensors", write_half_and_crash)
    with pytest.raises(KeyboardInterrupt):
        save_pretrained(saved, SMALL, jax.tree.map(np.zeros_like, drawn(SMALL)))
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert list(saved.parent.iterdir()) == [saved]


def test_saving_again_replaces(saved):
    save_pretrained(saved, SMALL, jax.tree.map(np.zeros_like, drawn(SMALL)))
    _, params = load_pretrained(saved)
    assert not any(leaf.any() for leaf in jax.tree.leaves(params))
    assert list(saved.parent.iterdir()) == [saved]
    assert len({path.stat().st_mode for path in saved.iterdir()}) == 1  # whoever may read one file may read the other

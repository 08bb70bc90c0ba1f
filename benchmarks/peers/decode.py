"""Decoding, with and without the pixels that are kept."""

import jax
import numpy as np

from asym_jax.arrays import Images, Latents, Mask, Params
from asym_jax.models.autoencoder import AsymmetricAutoencoderKL
from asym_jax.weights import load_pretrained
from benchmarks.peers.contest import Case
from benchmarks.peers.material import latents, masks, pictures
from benchmarks.peers.ours import JaxPeer


def inputs(case: Case) -> tuple[np.ndarray, ...]:
    """Latents, and image and mask if there is a mask. With `samples`, one image and one mask belong to all latents."""
    count = case.pictures
    if not case.mask:
        return (latents(case.size, count),)
    conditions = 1 if case.samples else count
    return latents(case.size, count), pictures(case.size, conditions), masks(case.size, conditions)


def decode(model: AsymmetricAutoencoderKL, params: Params, latents: Latents, *condition: Images | Mask) -> Images:
    """Ours, as anyone calls it; `condition` is nothing, or image and mask, of each picture or one for all."""
    image, mask = condition or (None, None)
    return model.apply({"params": params}, latents, image=image, mask=mask, method="decode")


def ours(case: Case) -> JaxPeer:
    model, params = load_pretrained(case.folder / case.model, dtype=case.dtype)
    return JaxPeer(case, lambda *given: decode(model, *given), params, inputs(case))


def flax(case: Case) -> JaxPeer:
    """diffusers' own Flax modules, which know no mask."""
    import diffusers

    model, params = load_pretrained(case.folder / case.model)
    there = diffusers.FlaxAutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=model.up_block_out_channels,
        layers_per_block=model.layers_per_up_block,
        norm_num_groups=model.norm_num_groups,
        dtype=jax.numpy.dtype(case.dtype),
    )
    # Its parameters have our names.
    params["decoder"].pop("condition_encoder")

    def function(params: Params, latents: Latents) -> Images:
        # Channels may come last; pictures have them first.
        images = there.apply({"params": params}, latents, method=there.decode).sample
        return images.transpose(0, 2, 3, 1)

    return JaxPeer(case, function, params, inputs(case))


def torch(case: Case, device: str, channels_last: bool, compile_mode: str | None) -> "TorchPeer":  # noqa: F821
    """diffusers' PyTorch modules."""
    from benchmarks.peers.theirs import TorchPeer, load_autoencoder

    def function(module, latents, image=None, mask=None):
        if image is not None and len(image) < len(latents):
            image, mask = (one.expand(len(latents), -1, -1, -1) for one in (image, mask))
        return module.decode(latents, image=image, mask=mask).sample

    settings = {"device": device, "channels_last": channels_last, "compile_mode": compile_mode}
    return TorchPeer(case, function, load_autoencoder(case), inputs(case), **settings)

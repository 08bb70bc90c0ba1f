"""The frozen encoder: pictures to the mean and the logarithm of the variance of their latents."""

import numpy as np

from asym_jax.arrays import Images, Params
from asym_jax.weights import load_pretrained
from benchmarks.peers.contest import Case
from benchmarks.peers.material import pictures
from benchmarks.peers.ours import JaxPeer


def inputs(case: Case) -> tuple[np.ndarray, ...]:
    return (pictures(case.size, case.batch),)


def ours(case: Case) -> JaxPeer:
    model, params = load_pretrained(case.folder / case.model, dtype=case.dtype)

    def encode(params: Params, images: Images) -> dict:
        return model.apply({"params": params}, images, method="encode")._asdict()

    return JaxPeer(case, encode, {name: tree for name, tree in params.items() if name in ("encoder", "quant_conv")}, inputs(case))


def torch(case: Case, device: str, channels_last: bool, compile_mode: str | None) -> "TorchPeer":  # noqa: F821
    """diffusers' PyTorch modules."""
    from benchmarks.peers.theirs import TorchPeer, load_autoencoder

    def encode(module, images):
        found = module.encode(images).latent_dist
        return {"mean": found.mean, "logvar": found.logvar}

    module = load_autoencoder(case)
    del module.decoder
    return TorchPeer(case, encode, module, inputs(case), device=device, channels_last=channels_last, compile_mode=compile_mode)

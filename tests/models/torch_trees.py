"""State dicts of PyTorch diffusers as trees of ours: a second, independent table of names."""

import re

import jax.numpy as jnp
import numpy as np

RENAMED = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out_0": "proj_attn"}


def randomised(torch, model):
    """Every tensor differs from its initial value and from every other."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def tree_of(model) -> dict:
    tree: dict = {}
    for name, tensor in model.state_dict().items():
        *modules, leaf = re.sub(r"\.(\d+)\.", r"_\1.", name).split(".")
        array = tensor.numpy()
        if modules[-1] == "embedding":
            leaf = "embedding"
        elif leaf == "weight":
            leaf = {4: "kernel", 2: "kernel", 1: "scale"}[array.ndim]
            array = {4: lambda a: a.transpose(2, 3, 1, 0), 2: np.transpose, 1: np.asarray}[array.ndim](array)
        place = tree
        for module in modules:
            place = place.setdefault(RENAMED.get(module, module), {})
        place[leaf] = jnp.array(array)
    return tree


def channels_last(tensor) -> np.ndarray:
    return tensor.numpy().transpose(0, 2, 3, 1)


def channels_first(torch, array):
    return torch.from_numpy(np.array(array).transpose(0, 3, 1, 2))

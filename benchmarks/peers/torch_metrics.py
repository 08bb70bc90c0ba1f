"""The networks behind the scores as others wrote them: torch-fidelity, lpips and transformers, in PyTorch.

The first two ask for torchvision, of which they need next to nothing; where it is absent, the stand-ins of the tests serve.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from flax.traverse_util import unflatten_dict

from asym_jax.weights.clip import torch_name
from asym_jax.weights.convert import extract
from asym_jax.weights.inception import LEAVES
from benchmarks.peers.contest import Case
from benchmarks.peers.metrics import CLIP, heads, inputs, read_network
from benchmarks.peers.theirs import TorchPeer

Built = tuple[torch.nn.Module, Callable[..., dict[str, torch.Tensor]]]


def torch_peer(case: Case, device: str, channels_last: bool, compile_mode: str | None) -> TorchPeer:
    build = {"inception": inception, "clip": clip}.get(case.model, lpips)
    module, function = build(case)
    return TorchPeer(case, function, module, inputs(case), device=device, channels_last=channels_last, compile_mode=compile_mode)


def inception(case: Case) -> Built:
    """torch-fidelity's, which resizes pictures by itself."""
    from tests.models.torch_inception import fidelity

    state = {}
    for name, array in read_network(case.folder, "inception").items():
        *modules, leaf = name.split("/")
        turned = array.transpose({4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim, range(array.ndim)))
        state[".".join([*modules, LEAVES[leaf]])] = torch.from_numpy(np.ascontiguousarray(turned))
        if leaf == "mean":
            state[".".join([*modules, "num_batches_tracked"])] = torch.tensor(0)
    state["fc.bias"] = torch.zeros(1008)
    path = case.folder / f"inception-{id(state)}.pth"
    torch.save(state, path)
    blocks = fidelity("feature_extractor_inceptionv3")
    module = blocks.FeatureExtractorInceptionV3("any", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path))

    def function(module: torch.nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return dict(zip(("pool3", "logits"), module(images), strict=True))

    return module, function


def lpips(case: Case) -> Built:
    """The official package's."""
    from tests.models.torch_alexnet import torch_alexnet
    from tests.models.torch_vgg import torch_vgg
    from tests.models.without_torchvision import official_lpips

    net = case.model.removeprefix("lpips-")
    trunk: Any = torch_alexnet() if net == "alex" else torch_vgg()
    arrays = read_network(case.folder, case.model)
    layers = [layer for layer in trunk if isinstance(layer, torch.nn.Conv2d)]
    for i, layer in enumerate(layers):
        layer.weight.data = torch.from_numpy(arrays[f"conv{i}/kernel"].transpose(3, 2, 0, 1).copy())
        layer.bias.data = torch.from_numpy(arrays[f"conv{i}/bias"])
    module = official_lpips(net, trunk)
    for layer, head in zip(module.lins, heads(case.model), strict=True):
        layer.model[-1].weight.data = torch.from_numpy(head).reshape(1, -1, 1, 1)

    def function(module: torch.nn.Module, *pair: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"distance": module(*(pixels.float() / 127.5 - 1 for pixels in pair)).reshape(-1)}

    return module, function


def clip(case: Case) -> Built:
    """Hugging Face's."""
    import transformers

    sizes = {"hidden_size": CLIP.width, "intermediate_size": 4 * CLIP.width, "num_hidden_layers": CLIP.layers}
    sizes |= {"num_attention_heads": CLIP.heads, "image_size": CLIP.image_size, "patch_size": CLIP.patch}
    config = transformers.CLIPVisionConfig(**sizes, projection_dim=CLIP.projection, hidden_act="quick_gelu")
    module = transformers.CLIPVisionModelWithProjection(config)
    tensors = extract(unflatten_dict(read_network(case.folder, "clip"), sep="/"), torch_name)
    state = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in tensors.items()}
    left = module.load_state_dict(state, strict=False)
    lacking = [name for name in left.missing_keys if not re.search("position_ids", name)]
    if lacking or left.unexpected_keys:
        raise KeyError(f"names of CLIP's tensors do not fit: {lacking} {left.unexpected_keys}")

    def function(module: torch.nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"projected": module(images).image_embeds}

    return module, function

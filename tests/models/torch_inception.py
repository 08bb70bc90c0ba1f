"""The FID network in PyTorch, by the packages that made it known, with random weights.

Both packages ask for torchvision, of which they need next to nothing; a stand-in gives them that.
"""

import functools
import types
from unittest import mock

import numpy as np
import pytest

from tests.models.without_torchvision import imported

torch = pytest.importorskip("torch")


def _stand_in() -> dict[str, types.ModuleType]:
    """torchvision as far as torch-fidelity and pytorch-fid look at it when they are imported."""
    names = ["", ".datasets", ".transforms", ".transforms.functional", ".models", ".models.inception"]
    modules = {f"torchvision{name}": types.ModuleType(f"torchvision{name}") for name in names}
    for name, module in modules.items():
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(modules[parent], last, module)
        module.__path__ = []
    for name in ("CIFAR10", "CIFAR100", "STL10"):
        setattr(modules["torchvision.datasets"], name, type(name, (), {}))
    modules["torchvision"].__version__ = "0.0"
    return modules


@functools.cache
def fidelity(name: str) -> types.ModuleType:
    """A module of torch-fidelity 0.4.0."""
    return imported(f"torch_fidelity.{name}", _stand_in())


@functools.cache
def pytorch_fid(name: str) -> types.ModuleType:
    """A module of pytorch-fid 0.3.0. It patches torchvision's blocks; torch-fidelity's have the same layers and serve as them."""
    blocks = fidelity("feature_extractor_inceptionv3")
    modules = _stand_in()
    named = {"InceptionA": blocks.InceptionA, "InceptionC": blocks.InceptionC, "InceptionE": blocks.InceptionE_1}
    for block, layers in named.items():
        # Only what __init__ makes is theirs: a forward pass must come from pytorch-fid.
        setattr(modules["torchvision.models.inception"], block, type(block, (layers,), {"forward": None}))
    return imported(f"pytorch_fid.{name}", modules)


def random_state(seed: int = 0) -> dict[str, "torch.Tensor"]:
    """Tensors of the published file: 94 normed convolutions and the last layer, drawn so that activations keep their size.

    The statistics of the normalisations are far from 0 and 1, and some variances are small enough for epsilon to be felt.
    """
    blocks = fidelity("feature_extractor_inceptionv3")
    with mock.patch.object(torch, "load", lambda *args, **options: {}):
        empty = mock.patch.object(torch.nn.Module, "load_state_dict", lambda self, state: None)
        with empty:
            network = blocks.FeatureExtractorInceptionV3("any", ["2048"], feature_extractor_weights_path="none")
    random = torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if name.endswith("conv.weight"):
            fan_in = tensor[0].numel()
            state[name] = torch.randn(tensor.shape, generator=random) * (2 / fan_in) ** 0.5
        elif name.endswith("running_var"):
            state[name] = 0.05 + torch.rand(tensor.shape, generator=random)
        elif name.endswith("bn.weight"):
            state[name] = 0.5 + 0.5 * torch.rand(tensor.shape, generator=random)
        else:  # biases, running means and the last layer
            state[name] = 0.1 * torch.randn(tensor.shape, generator=random)
    return state


def fidelity_network(state: dict[str, "torch.Tensor"], *, side: int = 299) -> "torch.nn.Module":
    """torch-fidelity's extractor of everything; it resizes uint8 pictures to `side` pixels."""
    blocks = fidelity("feature_extractor_inceptionv3")
    names = ["64", "192", "768", "2048", "logits_unbiased"]
    with mock.patch.object(torch, "load", lambda *args, **options: _counted(state)):
        network = blocks.FeatureExtractorInceptionV3("any", names, feature_extractor_weights_path="given")
    network.INPUT_IMAGE_SIZE = side
    return network


def legacy_network(state: dict[str, "torch.Tensor"]) -> "torch.nn.Module":
    """pytorch-fid's network for pictures in [0, 1], whose wiring is its own; gives pool3."""
    module = pytorch_fid("inception")
    blocks = fidelity("feature_extractor_inceptionv3")

    def torchvisions(**options: object) -> "torch.nn.Module":
        names = ["2048"]
        with mock.patch.object(torch, "load", lambda *args, **options: _counted(state)):
            return blocks.FeatureExtractorInceptionV3("any", names, feature_extractor_weights_path="given")

    given = {"load_state_dict_from_url": lambda *args, **options: _counted(state), "_inception_v3": torchvisions}
    with mock.patch.multiple(module, **given):
        return module.InceptionV3([3]).eval()


def _counted(state: dict[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
    """With the counters, which a strict comparison of names asks for."""
    counters = {
        name.replace("running_mean", "num_batches_tracked"): torch.tensor(0) for name in state if name.endswith("running_mean")
    }
    return state | counters


def tree_of(state: dict[str, "torch.Tensor"]) -> dict:
    """The same weights as our tree, without the bias of the last layer."""
    leaves = {"running_mean": "mean", "running_var": "var", "bias": "bias"}
    tree: dict = {}
    for name, tensor in state.items():
        *modules, leaf = name.split(".")
        if modules == ["fc"]:
            if leaf == "weight":
                tree["fc"] = {"kernel": tensor.numpy().T.copy()}
            continue
        place = tree
        for module in modules:
            place = place.setdefault(module, {})
        array = tensor.numpy()
        if array.ndim == 4:
            place["kernel"] = np.ascontiguousarray(array.transpose(2, 3, 1, 0))
        else:
            place[leaves.get(leaf, "scale")] = array
    return tree

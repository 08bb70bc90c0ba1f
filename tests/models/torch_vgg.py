"""VGG16's convolutions in PyTorch, as torchvision arranges them, with random weights."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

WIDTHS = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")


def torch_vgg(seed: int = 0) -> "torch.nn.Sequential":
    """torchvision's `vgg16().features`, drawn by He's rule so that all activations have about the same size."""
    torch.manual_seed(seed)
    layers, channels = [], 3
    for width in WIDTHS:
        if width == "M":
            layers.append(torch.nn.MaxPool2d(2, 2))
            continue
        layers += [torch.nn.Conv2d(channels, width, 3, padding=1), torch.nn.ReLU(inplace=True)]
        torch.nn.init.kaiming_normal_(layers[-2].weight, nonlinearity="relu")
        torch.nn.init.normal_(layers[-2].bias, std=0.1)
        channels = width
    return torch.nn.Sequential(*layers).requires_grad_(False)


def tree_of(features: "torch.nn.Sequential") -> dict:
    """The same weights as our tree."""
    convolutions = [layer for layer in features if isinstance(layer, torch.nn.Conv2d)]
    return {
        f"conv{i}": {"kernel": layer.weight.numpy().transpose(2, 3, 1, 0), "bias": layer.bias.numpy()}
        for i, layer in enumerate(convolutions)
    }


def channels_first(images: np.ndarray) -> "torch.Tensor":
    return torch.from_numpy(np.array(images).transpose(0, 3, 1, 2).copy())

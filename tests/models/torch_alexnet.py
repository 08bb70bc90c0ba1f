"""AlexNet's convolutions in PyTorch, as torchvision arranges them, with random weights."""

import pytest

torch = pytest.importorskip("torch")

CONVOLUTIONS = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1))
POOLED_AFTER = (0, 1, 4)


def torch_alexnet(seed: int = 0) -> "torch.nn.Sequential":
    """torchvision's `alexnet().features`, drawn by He's rule so that all activations have about the same size."""
    torch.manual_seed(seed)
    layers = []
    for i, (narrow, wide, kernel, stride, border) in enumerate(CONVOLUTIONS):
        layers += [torch.nn.Conv2d(narrow, wide, kernel, stride, border), torch.nn.ReLU(inplace=True)]
        torch.nn.init.kaiming_normal_(layers[-2].weight, nonlinearity="relu")
        torch.nn.init.normal_(layers[-2].bias, std=0.1)
        if i in POOLED_AFTER:
            layers.append(torch.nn.MaxPool2d(3, 2))
    return torch.nn.Sequential(*layers).requires_grad_(False)

"""The networks of a training run in PyTorch, filled with the weights that all peers share."""

import re
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.peers.material import read_arrays

VGG_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class Vgg(nn.Module):
    """VGG16's convolutions; gives the five activations that LPIPS compares."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, *(width for block in VGG_BLOCKS for width in block)]
        self.conv = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(widths[:-1], widths[1:], strict=True))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        taps, layer = [], 0
        for block in VGG_BLOCKS:
            x = functional.max_pool2d(x, 2) if taps else x
            for _ in block:
                x = functional.relu(self.conv[layer](x))
                layer += 1
            taps.append(x)
        return taps


class Lpips(nn.Module):
    """The perceptual distance of each pair of pictures, of shape (B, 1, 1, 1); nothing is dropped out."""

    def __init__(self, heads: list[np.ndarray]) -> None:
        super().__init__()
        self.vgg = Vgg()
        for i, head in enumerate(heads):
            self.register_buffer(f"head{i}", torch.from_numpy(head).reshape(1, -1, 1, 1))
        self.register_buffer("shift", torch.tensor(SHIFT).reshape(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).reshape(1, 3, 1, 1))

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        total = 0
        pairs = zip(self.vgg((a - self.shift) / self.scale), self.vgg((b - self.shift) / self.scale), strict=True)
        for i, pair in enumerate(pairs):
            left, right = (tap / (tap.pow(2).sum(1, keepdim=True).sqrt() + 1e-10) for tap in pair)
            weighted = (left - right).pow(2) * getattr(self, f"head{i}")
            total = total + weighted.sum(1, keepdim=True).mean((2, 3), keepdim=True)
        return total


class PatchCritic(nn.Module):
    """PatchGAN's discriminator; batch normalisation in training mode, over the whole batch."""

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        widths = [channels * min(2**i, 8) for i in range(layers + 1)]
        strides = [2] * (layers - 1) + [1]
        self.conv_in = nn.Conv2d(3, widths[0], 4, 2, 1)
        pairs = zip(widths[:-1], widths[1:], strides, strict=True)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 4, stride, 1, bias=False) for a, b, stride in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        self.conv_out = nn.Conv2d(widths[-1], 1, 4, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.leaky_relu(self.conv_in(x), 0.2)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = functional.leaky_relu(norm(conv(x)), 0.2)
        return self.conv_out(x)


def fill(module: nn.Module, arrays: dict[str, np.ndarray]) -> nn.Module:
    """Puts arrays named as ours (`convs_0/kernel`) into the parameters of a module; buffers stay. Raises KeyError for another."""
    parameters = dict(module.named_parameters())
    with torch.no_grad():
        for name, array in arrays.items():
            turned = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
            parameters.pop(torch_name(name)).copy_(torch.from_numpy(np.ascontiguousarray(turned)))
    if parameters:
        raise KeyError(f"nothing was given for {sorted(parameters)[:3]}")
    return module


def torch_name(name: str) -> str:
    """`convs_0/kernel` as `convs.0.weight`, `conv12/bias` as `conv.12.bias`."""
    modules, _, leaf = name.rpartition("/")
    place = re.sub(r"_?([0-9]+)$", r".\1", modules)
    return f"{place}.{'bias' if leaf == 'bias' else 'weight'}"


def our_layout(name: str, gradient: torch.Tensor) -> np.ndarray:
    """A gradient as our tree has it."""
    array = gradient.detach().float().cpu().numpy()
    return array.transpose(2, 3, 1, 0) if name.endswith("/kernel") else array


def load_lpips(folder: Path, model: str) -> Lpips:
    lpips = Lpips(list(read_arrays(folder, "heads", model).values()))
    fill(lpips.vgg, read_arrays(folder, "vgg", model))
    return lpips.requires_grad_(False).eval()


def load_critic(folder: Path, model: str) -> PatchCritic:
    arrays = read_arrays(folder, "critic", model)
    layers = sum(name.startswith("convs_") for name in arrays)
    return fill(PatchCritic(arrays["conv_in/kernel"].shape[-1], layers), arrays).train()

"""One update of decoder and critic in plain PyTorch, written from the published description and not from our code.

Everything is computed in float64, so that what differs is our rounding. As in
our step the critic learns from the reconstruction that the decoder was scored
on; the released code decodes once more for it.
"""

import math
from typing import NamedTuple

import torch
from torch import nn

TAPS = (3, 8, 15, 22, 29)
"""relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3 in torchvision's `features`."""


class Settings(NamedTuple):
    steps: int
    warmup_steps: int
    learning_rate: float
    final_learning_rate: float
    critic_start: int
    adversarial_start: int
    ema_decay: float


def learning_rate(n: int, peak: float, *, final: float, warmup: int, total: int) -> float:
    """Linear from 1% of the peak, then a cosine down to an absolute rate."""
    if n < warmup:
        return peak * (0.01 + 0.99 * n / warmup)
    low = final / peak
    done = min((n - warmup) / (total - warmup), 1)
    return peak * (low + 0.5 * (1 - low) * (1 + math.cos(math.pi * done)))


def lpips(vgg: nn.Sequential, heads: list[torch.Tensor], a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Distances of shape (B, 1, 1, 1)."""
    shift = torch.tensor([-0.030, -0.088, -0.188], dtype=a.dtype).view(1, 3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450], dtype=a.dtype).view(1, 3, 1, 1)
    total = 0
    a, b = (a - shift) / scale, (b - shift) / scale
    for i, layer in enumerate(vgg):
        a, b = layer(a), layer(b)
        if i in TAPS:
            unit_a, unit_b = (t / (t.pow(2).sum(1, keepdim=True).sqrt() + 1e-10) for t in (a, b))
            head = heads[TAPS.index(i)].view(1, -1, 1, 1)
            total = total + (head * (unit_a - unit_b) ** 2).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    return total


class PatchCritic(nn.Module):
    """PatchGAN; batch normalisation in training mode over `norm_images` pictures at a time, as on that many GPUs."""

    def __init__(self, channels: int, layers: int, norm_images: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, channels, 4, 2, 1)
        widths = [channels * min(2**i, 8) for i in range(layers + 1)]
        strides = [2] * (layers - 1) + [1]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride, 1, bias=False) for a, b, stride in zip(widths[:-1], widths[1:], strides, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        self.conv_out = nn.Conv2d(widths[-1], 1, 4, 1, 1)
        self.norm_images = norm_images

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([self._group(group) for group in images.split(self.norm_images)])

    def _group(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.leaky_relu(self.conv_in(x), 0.2)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = nn.functional.leaky_relu(norm(conv(x)), 0.2)
        return self.conv_out(x)


class Trainer:
    """Networks, optimisers and averages; `step` changes them."""

    def __init__(self, model: nn.Module, critic: PatchCritic, vgg: nn.Module, heads: list[torch.Tensor], settings: Settings):
        self.model, self.critic, self.vgg, self.heads, self.settings = model, critic.train(), vgg, heads, settings
        model.encoder.requires_grad_(False)
        named = dict(model.decoder.named_parameters())
        self.decoder_parameters, self.critic_parameters = list(named.values()), list(critic.parameters())
        self.average = {name: value.detach().clone() for name, value in named.items()}
        fresh = [value for name, value in named.items() if name.startswith("condition_encoder.")]
        rest = [value for name, value in named.items() if not name.startswith("condition_encoder.")]
        adam = {"lr": 0.0, "betas": (0.5, 0.9), "eps": 1e-8}
        self.optimiser = torch.optim.Adam([{"params": fresh, "share": 1.0}, {"params": rest, "share": 0.1}], **adam)
        self.critic_optimiser = torch.optim.Adam(self.critic_parameters, **adam)

    def step(self, n: int, image: torch.Tensor, noise: torch.Tensor, mask: torch.Tensor) -> dict[str, float]:
        """Update number `n`, counted from 0."""
        reconstruction = self.model.decoder(self._latents(image, noise), image, mask)
        pixel, perceptual = (image - reconstruction).abs(), lpips(self.vgg, self.heads, image, reconstruction)
        nll = (pixel + perceptual).sum() / len(image)
        fake = self.critic(reconstruction)
        adversarial = -fake.mean()
        weight = self._adaptive_weight(nll, adversarial)
        total = nll + weight * (n >= self.settings.adversarial_start) * adversarial
        gradients = torch.autograd.grad(total, self.decoder_parameters)

        real, fake = self.critic(image), self.critic(reconstruction.detach())
        hinge = 0.5 * (torch.relu(1 - real).mean() + torch.relu(1 + fake).mean())
        critic_gradients = torch.autograd.grad((n >= self.settings.critic_start) * hinge, self.critic_parameters)
        self._apply(n, gradients, critic_gradients)
        results = {
            "loss/pixel": pixel.mean(),
            "loss/perceptual": perceptual.mean(),
            "loss/adversarial": adversarial,
            "loss/critic": hinge,
            "loss/total": total,
            "logits/real": real.mean(),
            "logits/fake": fake.mean(),
            "adaptive_weight": weight,
            "norm/gradient": _norm(gradients),
            "norm/critic_gradient": _norm(critic_gradients),
        }
        return {name: float(value.detach()) for name, value in results.items()}

    def _latents(self, image: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            mean, log_variance = self.model.quant_conv(self.model.encoder(image)).chunk(2, dim=1)
            sample = mean + torch.exp(0.5 * log_variance.clamp(-30, 20)) * noise
            return self.model.post_quant_conv(sample)

    def _adaptive_weight(self, nll: torch.Tensor, adversarial: torch.Tensor) -> torch.Tensor:
        last = self.model.decoder.conv_out.weight
        (pull,) = torch.autograd.grad(nll, last, retain_graph=True)
        (push,) = torch.autograd.grad(adversarial, last, retain_graph=True)
        return 0.8 * (pull.norm() / (push.norm() + 1e-4)).clamp(0, 1e4).detach()

    def _apply(self, n: int, gradients: tuple[torch.Tensor, ...], critic_gradients: tuple[torch.Tensor, ...]) -> None:
        s = self.settings
        for parameters, values in ((self.decoder_parameters, gradients), (self.critic_parameters, critic_gradients)):
            for parameter, value in zip(parameters, values, strict=True):
                parameter.grad = value
        shape = {"final": s.final_learning_rate, "warmup": s.warmup_steps}
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(n, s.learning_rate * group["share"], total=s.steps, **shape)
        awake = n - s.critic_start
        rate = learning_rate(awake, s.learning_rate, total=s.steps - s.critic_start, **shape) if awake > 0 else 0.0
        self.critic_optimiser.param_groups[0]["lr"] = rate
        self.optimiser.step()
        self.critic_optimiser.step()
        decay = min(s.ema_decay, (1 + n) / (10 + n))
        for name, value in self.model.decoder.named_parameters():
            self.average[name].mul_(decay).add_(value.detach(), alpha=1 - decay)


def _norm(tensors: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return torch.stack([tensor.pow(2).sum() for tensor in tensors]).sum().sqrt()

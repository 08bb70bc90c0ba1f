"""One update of decoder and critic in PyTorch: as the released code goes about it, and as well as we can."""

import time
from typing import Any

import numpy as np
import torch

from benchmarks.peers import theirs
from benchmarks.peers.contest import Case
from benchmarks.peers.material import latents, masks, pixels
from benchmarks.peers.step import ADAPTIVE_MAXIMUM, COMPARED, COMPARED_OF_CRITIC
from benchmarks.peers.torch_networks import load_critic, load_lpips, our_layout, torch_name

LEARNING_RATE = 1e-6
FACTOR = 0.8
"""Of the adaptive weight."""


class TorchStep:
    """Networks, optimisers, and what both procedures share.

    Args:
        autocast: whether products are in bfloat16, as `torch.autocast` does it.
        channels_last: the layout of everything with four axes.
        compile_mode: of `torch.compile`; None runs eagerly.
        fused_adam: updates all parameters in one kernel.
    """

    def __init__(
        self, case: Case, device: str, *, autocast: bool, channels_last: bool, compile_mode: str | None, fused_adam: bool
    ) -> None:
        theirs.set_up(case, device)
        self.case, self.device, self.autocast, self.compile_mode = case, device, autocast, compile_mode
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.model = theirs.load_autoencoder(case).requires_grad_(False).to(device).train()
        self.decoder = self.model.decoder.requires_grad_(True)
        self.lpips, self.critic = load_lpips(case.folder, case.model).to(device), load_critic(case.folder, case.model).to(device)
        self.modules = [self.model, self.lpips, self.critic]
        self.named = dict(self.decoder.named_parameters())
        fused = {"fused": True} if fused_adam else {}
        fresh = list(self.decoder.condition_encoder.parameters())
        rest = [p for name, p in self.named.items() if not name.startswith("condition_encoder.")]
        groups = [{"params": fresh, "lr": LEARNING_RATE}, {"params": rest, "lr": 0.1 * LEARNING_RATE}]
        self.decoder_adam = torch.optim.Adam(groups, betas=(0.5, 0.9), **fused)
        self.critic_adam = torch.optim.Adam(self.critic.parameters(), lr=LEARNING_RATE, betas=(0.5, 0.9), **fused)
        self.pixels = theirs.tensor(pixels(case.size, case.batch), device)
        self.mask = theirs.tensor(masks(case.size, case.batch), device)
        self.noise = theirs.tensor(latents(case.size, case.batch), device)
        self.encode, self.reconstruction_loss = self._encode, self._reconstruction_loss

    def exact(self) -> dict[str, np.ndarray]:
        """Losses and gradients in float32, eagerly, at the first weights."""
        autocast, self.autocast = self.autocast, False
        with theirs.full_precision():
            found = self._found()
        self.autocast = autocast
        return found

    def prepare(self) -> dict[str, Any]:
        """Lays out, compiles, finds what `result` gives, and makes the first update."""
        for module in self.modules:
            module.to(memory_format=self.layout)
        self.pixels, self.mask = (one.contiguous(memory_format=self.layout) for one in (self.pixels, self.mask))
        if self.compile_mode:
            self._compile(theirs.compile_mode(self.compile_mode, self.device))
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        begin = time.perf_counter()
        self.found = self._found()
        self.run(1)
        return {"first_call_seconds": time.perf_counter() - begin}

    def run(self, repeats: int) -> None:
        for _ in range(repeats):
            self.update(None, change=True)
        theirs.finish(self.device)

    def result(self) -> dict[str, np.ndarray]:
        """Losses, adaptive weight and some gradients at the first weights."""
        return self.found

    def memory(self) -> dict[str, int]:
        return theirs.memory(self.device)

    def release(self) -> None:
        theirs.release(self.device)

    def peak(self) -> float:
        return theirs.matrix_rate(self.case, self.device)

    def update(self, noise: torch.Tensor | None, *, change: bool) -> dict[str, torch.Tensor]:
        """Fills the gradients of decoder and critic, and makes the step if `change`; `noise` None draws some."""
        raise NotImplementedError

    def _found(self) -> dict[str, np.ndarray]:
        metrics = self.update(self.noise, change=False)
        found = {name: np.asarray(float(value.detach())) for name, value in metrics.items()}
        critic = dict(self.critic.named_parameters())
        found |= {f"decoder {name}": self.named[name].grad.float().cpu().numpy().copy() for name in COMPARED}
        found |= {f"critic {name}": our_layout(name, critic[torch_name(name)].grad).copy() for name in COMPARED_OF_CRITIC}
        self.decoder_adam.zero_grad()
        self.critic_adam.zero_grad()
        return found

    def _compile(self, mode: str | None) -> None:
        raise NotImplementedError

    def _image(self) -> torch.Tensor:
        return self.pixels.float() / 127.5 - 1

    def _casting(self) -> torch.autocast:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.autocast)

    def _encode(self, image: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        mean, log_variance = self.model.quant_conv(self.model.encoder(image)).float().chunk(2, dim=1)
        return self.model.post_quant_conv(mean + torch.exp(0.5 * log_variance.clamp(-30, 20)) * noise)

    def _noise(self, noise: torch.Tensor | None) -> torch.Tensor:
        return torch.randn_like(self.noise) if noise is None else noise

    def _reconstruction_loss(self, image: torch.Tensor, reconstruction: torch.Tensor) -> torch.Tensor:
        """L1 and LPIPS, added to every element, summed over each picture, averaged over the batch."""
        return ((image - reconstruction).abs() + self.lpips(image, reconstruction)).sum() / len(image)


def adaptive_weight(pull: torch.Tensor, push: torch.Tensor) -> torch.Tensor:
    """Of two gradients at the kernel of the last convolution."""
    return FACTOR * (pull.norm() / (push.norm() + 1e-4)).clamp(0, ADAPTIVE_MAXIMUM).detach()


def hinge(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return 0.5 * (torch.relu(1 - real.float()).mean() + torch.relu(1 + fake.float()).mean())


class ReferenceStep(TorchStep):
    """The released procedure: each optimiser encodes and decodes for itself, and the adaptive weight has two gradients of its own.

    The critic sees the decoder after its update, with other noise, and the reconstruction loss is computed for it too.
    Its framework keeps gradients from the network that is not being optimised.
    """

    def update(self, noise: torch.Tensor | None, *, change: bool) -> dict[str, torch.Tensor]:
        image = self._image()
        self.critic.requires_grad_(False)
        self.decoder.requires_grad_(True)
        with self._casting():
            reconstruction = self._decode(image, noise)
            loss = self.reconstruction_loss(image, reconstruction)
            adversarial = -self.critic(reconstruction).float().mean()
        last = self.decoder.conv_out.weight
        (pull,) = torch.autograd.grad(loss, last, retain_graph=True)
        (push,) = torch.autograd.grad(adversarial, last, retain_graph=True)
        weight = adaptive_weight(pull, push)
        self.decoder_adam.zero_grad()
        (loss + weight * adversarial).backward()
        if change:
            self.decoder_adam.step()

        self.critic.requires_grad_(True)
        self.decoder.requires_grad_(False)
        with self._casting():
            reconstruction = self._decode(image, noise)
            self.reconstruction_loss(image, reconstruction)
            own = hinge(self.critic(image), self.critic(reconstruction.detach()))
        self.critic_adam.zero_grad()
        own.backward()
        if change:
            self.critic_adam.step()
        return {"reconstruction loss": loss, "adaptive weight": weight, "critic's loss": own}

    def _decode(self, image: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
        with torch.no_grad():
            latents = self.encode(image, self._noise(noise))
        return self.decoder(latents, image, self.mask)


class FusedStep(TorchStep):
    """One forward and one backward: both losses meet at the reconstruction, and the critic learns from the same one."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.last, self.decoder.conv_out = self.decoder.conv_out, torch.nn.Identity()
        self.modules.append(self.last)
        self.features = self.decoder

    def _compile(self, mode: str | None) -> None:
        """Everything but the last convolution and the critic, which are differentiated more than once."""
        self.encode, self.reconstruction_loss, self.features = (
            torch.compile(function, mode=mode) for function in (self._encode, self._reconstruction_loss, self.decoder)
        )

    def update(self, noise: torch.Tensor | None, *, change: bool) -> dict[str, torch.Tensor]:
        image = self._image()
        self.decoder_adam.zero_grad()
        self.critic_adam.zero_grad()
        with self._casting():
            with torch.no_grad():
                latents = self.encode(image, self._noise(noise))
            # Blends in the type of the features; the mask is 0 or 1, and the convolutions round the picture anyway.
            small = torch.bfloat16 if self.autocast else torch.float32
            reconstruction = self.last(self.features(latents, image.to(small), self.mask.to(small)))
        seen = reconstruction.detach().float().requires_grad_()
        with self._casting():
            loss = self.reconstruction_loss(image, seen)
            real, fake = self.critic(image), self.critic(seen)
        (pull,) = torch.autograd.grad(loss, seen)
        (push,) = torch.autograd.grad(-fake.float().mean(), seen, retain_graph=True)
        at_last = [
            torch.autograd.grad(reconstruction, self.last.weight, cotangent.to(reconstruction.dtype), retain_graph=True)[0]
            for cotangent in (pull, push)
        ]
        weight = adaptive_weight(*at_last)
        reconstruction.backward((pull + weight * push).to(reconstruction.dtype))
        own = hinge(real, fake)
        own.backward(inputs=list(self.critic.parameters()))
        if change:
            self.decoder_adam.step()
            self.critic_adam.step()
        return {"reconstruction loss": loss, "adaptive weight": weight, "critic's loss": own}


def reference(case: Case, device: str, autocast: bool) -> ReferenceStep:
    """In float32 (TF32 on a GPU) and channels first as it was released, or with autocast and channels last."""
    settings = {"autocast": autocast, "channels_last": autocast, "compile_mode": None, "fused_adam": False}
    return ReferenceStep(case, device, **settings)


def fused(case: Case, device: str, compile_mode: str | None) -> FusedStep:
    """Channels last, with autocast if the case is in bfloat16."""
    autocast = case.dtype == "bfloat16"
    return FusedStep(case, device, autocast=autocast, channels_last=True, compile_mode=compile_mode, fused_adam=True)

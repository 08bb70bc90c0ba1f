"""Small autoencoders of PyTorch diffusers with random weights, and pictures for them."""

from types import SimpleNamespace

import numpy as np
import pytest

DOWN = ("DownEncoderBlock2D",) * 4
UP = ("UpDecoderBlock2D",) * 4


@pytest.fixture(scope="session")
def pytorch():
    """torch and diffusers, imported late: they take seconds, and only these tests need them."""
    torch = pytest.importorskip("torch")
    from diffusers.models import AsymmetricAutoencoderKL, AutoencoderKL

    torch.set_num_threads(1)  # the networks are tiny, and the cores may be busy
    return SimpleNamespace(torch=torch, AsymmetricAutoencoderKL=AsymmetricAutoencoderKL, AutoencoderKL=AutoencoderKL)


def _randomised(torch, model):
    """Every tensor differs from every other and from its initial value, so that no two can be mistaken for each other."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


@pytest.fixture(scope="session")
def torch_symmetric(pytorch):
    model = pytorch.AutoencoderKL(
        down_block_types=DOWN, up_block_types=UP, block_out_channels=(8, 16, 32, 32), norm_num_groups=4, sample_size=64
    )
    return _randomised(pytorch.torch, model)


@pytest.fixture(scope="session")
def torch_asymmetric(pytorch):
    model = pytorch.AsymmetricAutoencoderKL(
        down_block_types=DOWN,
        down_block_out_channels=(8, 16, 32, 32),
        up_block_types=UP,
        up_block_out_channels=(8, 16, 24, 24),
        layers_per_up_block=2,
        norm_num_groups=4,
        scaling_factor=0.5,
    )
    return _randomised(pytorch.torch, model)


@pytest.fixture(scope="session", params=[(16, 16), (24, 40)], ids=["square", "wide"])
def pictures(request):
    """Pictures, a hard and a soft mask, and latents, channels first as PyTorch takes them."""
    height, width = request.param
    random = np.random.default_rng(0)
    image = random.uniform(-1, 1, (2, 3, height, width)).astype(np.float32)
    mask = np.stack([random.uniform(size=(1, height, width)) > 0.5, random.uniform(size=(1, height, width))]).astype(np.float32)
    latents = random.normal(size=(2, 4, height // 8, width // 8)).astype(np.float32)
    return image, mask, latents


@pytest.fixture
def site(monkeypatch):
    """A server on this machine with one file; no proxy and no other hub is in between."""
    from tests.weights.fetching.loopback import (  # late: the type checks of asym_jax are installed after this file is read
        CONTENT,
        serving,
    )

    monkeypatch.setenv("no_proxy", "*")
    for name in ("HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    with serving(content=CONTENT) as running:
        yield running

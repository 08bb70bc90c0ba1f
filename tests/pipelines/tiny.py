"""Whole pipelines with tiny random weights, in PyTorch, saved as the hub has them; and pictures for them."""

import functools
import json
from pathlib import Path

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diffusers import AsymmetricAutoencoderKL, AutoencoderKL, DDIMScheduler, PNDMScheduler, UNet2DConditionModel  # noqa: E402
from diffusers.pipelines.deprecated.paint_by_example import PaintByExampleImageEncoder  # noqa: E402
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, CLIPVisionConfig  # noqa: E402

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
WORDS = 8
"""Tokens of a prompt."""
WIDTH = 16
"""Of the embeddings."""


def randomised(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Every tensor differs from its initial value and from every other."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval().requires_grad_(False)


@functools.cache
def unet(in_channels: int) -> UNet2DConditionModel:
    torch.manual_seed(0)
    model = UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
    )
    return randomised(model, in_channels)


@functools.cache
def vae() -> AutoencoderKL:
    torch.manual_seed(1)
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=64,
    )
    return randomised(model, 1)


@functools.cache
def asymmetric() -> AsymmetricAutoencoderKL:
    """With the encoder of `vae`."""
    torch.manual_seed(2)
    model = AsymmetricAutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        down_block_out_channels=(4, 8, 8, 8),
        layers_per_down_block=1,
        up_block_types=("UpDecoderBlock2D",) * 4,
        up_block_out_channels=(4, 8, 16, 16),
        layers_per_up_block=1,
        norm_num_groups=4,
        sample_size=64,
    )
    model = randomised(model, 2)
    for half in ("encoder", "quant_conv", "post_quant_conv"):
        getattr(model, half).load_state_dict(getattr(vae(), half).state_dict())
    return model


@functools.cache
def text_encoder() -> CLIPTextModel:
    torch.manual_seed(3)
    config = CLIPTextConfig(
        vocab_size=20,
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=WORDS,
        bos_token_id=18,
        eos_token_id=19,
        pad_token_id=19,
    )
    return randomised(CLIPTextModel(config), 3)


@functools.cache
def image_encoder() -> PaintByExampleImageEncoder:
    """Nine layers, and so two blocks in the mapper."""
    torch.manual_seed(4)
    config = CLIPVisionConfig(
        hidden_size=8,
        intermediate_size=16,
        projection_dim=WIDTH,
        num_hidden_layers=9,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    return randomised(PaintByExampleImageEncoder(config, proj_size=WIDTH), 4)


def tokenizer(folder: Path) -> CLIPTokenizer:
    """Of single letters."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [f"{letter}{end}" for letter in "abcdefghi" for end in ("", "</w>")]
    words = {word: i for i, word in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=WORDS)


def scheduler(kind: str) -> DDIMScheduler | PNDMScheduler:
    if kind == "ddim":
        return DDIMScheduler(**BETAS, set_alpha_to_one=False, clip_sample=False)
    return PNDMScheduler(**BETAS, skip_prk_steps=True, set_alpha_to_one=False)


def save(folder: Path, *, in_channels: int, kind: str = "ddim", example: bool = False, safe: bool = True) -> Path:
    """A folder as PyTorch diffusers writes it."""
    unet(in_channels).save_pretrained(folder / "unet", safe_serialization=safe)
    vae().save_pretrained(folder / "vae", safe_serialization=safe)
    scheduler(kind).save_pretrained(folder / "scheduler")
    if example:
        image_encoder().save_pretrained(folder / "image_encoder", safe_serialization=safe)
    else:
        text_encoder().save_pretrained(folder / "text_encoder", safe_serialization=safe)
        tokenizer(folder / "words").save_pretrained(folder / "tokenizer")
    asymmetric().save_pretrained(folder / "asymmetric")
    return folder


def pictures(count: int, height: int, width: int) -> np.ndarray:
    """In [-1, 1]."""
    return np.random.default_rng(0).uniform(-1, 1, (count, height, width, 3)).astype(np.float32)


def holes(count: int, height: int, width: int) -> np.ndarray:
    """Hard, not the same for any two pictures, and with odd corners."""
    masks = np.zeros((count, height, width, 1), np.float32)
    for i in range(count):
        masks[i, 3 + i : height // 2 + 1 + i, 5 : width - 4 - i] = 1
    return masks


def channels_first(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32).transpose(0, 3, 1, 2))


class Queue:
    """Gives arrays of ours where diffusers' PyTorch draws normal numbers, in order."""

    def __init__(self, *arrays: np.ndarray) -> None:
        self.arrays = list(arrays)

    def __call__(self, shape: tuple, *_: object, **__: object) -> torch.Tensor:
        drawn = channels_first(self.arrays.pop(0))
        assert drawn.shape == tuple(shape)
        return drawn


def assert_same_parameters(ours: dict, theirs: dict) -> None:
    """To the bit, but for the scheduler's products, which are computed at each start."""
    assert ours.keys() == theirs.keys()
    for part in ours:
        compare = np.testing.assert_array_equal
        if part == "scheduler":
            compare = functools.partial(np.testing.assert_allclose, rtol=1e-6)
        jax.tree.map(compare, ours[part], theirs[part])

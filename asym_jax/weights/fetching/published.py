"""Files that others have published: where each is, and how the right one is told from a wrong one.

Sizes and hashes are as their publishers or several independent users pin them;
None stands where nobody does. Files of the Hugging Face hub are pinned to a
revision where one is known in full.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from asym_jax.errors import InputError

HUB = "https://huggingface.co"


class PublishedFile(NamedTuple):
    """One file."""

    name: str  # as published; below $ASYM_JAX_WEIGHTS, parts separated by /
    url: str
    bytes: int | None
    sha256: str | None


class Published(NamedTuple):
    """What is fetched under one name."""

    name: str  # as users type it
    files: tuple[PublishedFile, ...]  # a network: one file; an autoencoder: a folder called `name`, for `load_pretrained`
    purpose: str
    licence: str


def _autoencoder(folder: str, address: str, weights: str, size: int | None, sha256: str | None) -> tuple[PublishedFile, ...]:
    """config.json, whose content is not pinned, and the weights; `address` is REPOSITORY/resolve/REVISION[/SUBFOLDER]."""
    return (
        PublishedFile(f"{folder}/config.json", f"{HUB}/{address}/config.json", None, None),
        PublishedFile(f"{folder}/{weights}", f"{HUB}/{address}/{weights}", size, sha256),
    )


VGG16 = PublishedFile(
    "vgg16-397923af.pth",
    "https://download.pytorch.org/models/vgg16-397923af.pth",
    553_433_881,
    "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
)
ALEXNET = PublishedFile(
    "alexnet-owt-7be5be79.pth",
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    244_408_911,
    "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
)
LPIPS_HEADS = PublishedFile(
    "vgg.pth",
    "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/vgg.pth",
    7_289,
    "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
)
LPIPS_ALEX_HEADS = PublishedFile(
    "alex.pth",
    "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/alex.pth",
    6_009,
    "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
)
INCEPTION = PublishedFile(
    "pt_inception-2015-12-05-6726825d.pth",
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    95_628_359,
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
CLIP = PublishedFile(
    "clip-vit-b-32/pytorch_model.bin",
    f"{HUB}/openai/clip-vit-base-patch32/resolve/3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268/pytorch_model.bin",
    605_247_071,
    "a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f",
)
FT_MSE = _autoencoder(
    "sd-vae-ft-mse",
    "stabilityai/sd-vae-ft-mse/resolve/31f26fdeee1355a5c34592e401dd41e45d25a493",
    "diffusion_pytorch_model.safetensors",
    334_643_276,
    "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815",
)
SD = _autoencoder(
    "sd-vae",
    "stable-diffusion-v1-5/stable-diffusion-v1-5/resolve/451f4fe16113bff5a5d2269ed5ad43b0592e9a14/vae",
    "diffusion_pytorch_model.safetensors",
    334_643_276,
    "a2b5134f4dbc140d9c11f11cba3233099e00af40f262f136c691fb7d38d2194c",
)
SDXL = _autoencoder("sdxl-vae", "stabilityai/sdxl-vae/resolve/main", "diffusion_pytorch_model.safetensors", None, None)
ASYMMETRIC_1_5 = _autoencoder(
    "asymmetric-x-1-5",
    "cross-attention/asymmetric-autoencoder-kl-x-1-5/resolve/main",
    "diffusion_pytorch_model.bin",
    None,
    "1cb78e76a8f701a81595be375d6555b3e4ad0e3f765ecfd72390256089c4fb4e",
)
ASYMMETRIC_2 = _autoencoder(
    "asymmetric-x-2", "cross-attention/asymmetric-autoencoder-kl-x-2/resolve/main", "diffusion_pytorch_model.bin", None, None
)

PUBLISHED = (
    Published("vgg16", (VGG16,), "LPIPS: perceptual loss and metric", "BSD-3-Clause; trained on ImageNet"),
    Published("lpips-vgg", (LPIPS_HEADS,), "LPIPS: its weights for VGG16", "BSD-2-Clause"),
    Published("alexnet", (ALEXNET,), "LPIPS with AlexNet", "BSD-3-Clause; trained on ImageNet"),
    Published("lpips-alex", (LPIPS_ALEX_HEADS,), "LPIPS: its weights for AlexNet", "BSD-2-Clause"),
    Published("inception", (INCEPTION,), "FID and Inception Score", "Apache-2.0"),
    Published("clip-vit-b-32", (CLIP,), "CLIP score", "MIT"),
    Published("sd-vae", SD, "autoencoder of Stable Diffusion 1.5", "CreativeML Open RAIL-M"),
    Published("sd-vae-ft-mse", FT_MSE, "the same with a finetuned decoder", "MIT"),
    Published("sdxl-vae", SDXL, "autoencoder of Stable Diffusion XL", "MIT"),
    Published("asymmetric-x-1-5", ASYMMETRIC_1_5, "asymmetric autoencoder, 1.5x decoder", "none stated"),
    Published("asymmetric-x-2", ASYMMETRIC_2, "asymmetric autoencoder, 2x decoder", "none stated"),
)


def find(name: str) -> Published:
    """The entry that users call `name`. Raises InputError, with the names there are, if there is none."""
    for entry in PUBLISHED:
        if entry.name == name:
            return entry
    names = [entry.name for entry in PUBLISHED]
    close = difflib.get_close_matches(name.lower(), names, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise InputError(f"nothing is published here as {name!r}; {hint}The names are {', '.join(names)}")


def described(file: PublishedFile) -> str:
    """Address, size and hash of a file, as far as they are known."""
    size = f"{file.bytes:,} bytes" if file.bytes is not None else "size not published"
    return f"{file.url} ({size}, {f'SHA-256 {file.sha256}' if file.sha256 else 'SHA-256 not published'})"


def by_hand(files: Sequence[PublishedFile], folder: Path) -> str:
    """What to bring from where to which place in `folder`, where `fetch` cannot."""
    return "; ".join(f"{described(file)} as {folder / file.name}" for file in files)


def fetch_line(files: Sequence[PublishedFile]) -> str:
    """The command that fetches `files`."""
    wanted = {file.name for file in files}
    names = [entry.name for entry in PUBLISHED if wanted & {file.name for file in entry.files}]
    return f"python -m asym_jax.weights fetch {' '.join(names)}"

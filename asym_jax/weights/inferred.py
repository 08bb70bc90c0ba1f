"""The architecture of an autoencoder that came without config.json, read off the shapes of its tensors."""

import re
from typing import Any

from asym_jax.errors import InputError
from asym_jax.weights.convert import Tensors

GROUPS = 32
"""Groups of every normalisation in published autoencoders; shapes do not tell."""

LONGEST = 64
"""Levels, or layers per level, beyond which something else than an autoencoder was given."""


def infer_config(tensors: Tensors, *, source: str) -> dict[str, Any]:
    """What config.json would say of these tensors (PyTorch diffusers' names and layout).

    Numbers that shapes do not tell are diffusers' defaults: the scaling factor
    of Stable Diffusion 1 and 2 (SDXL's differs), and `GROUPS`.

    Raises:
        InputError: the tensors are no complete autoencoder.
    """
    try:
        down, up = _side(tensors, "encoder.down_blocks"), _side(tensors, "decoder.up_blocks")[::-1]
        latent_channels = tensors["decoder.conv_in.weight"].shape[1]
        shapes = _kind(tensors, down, up)
        if "quantize.embedding.weight" in tensors:
            entries, width = tensors["quantize.embedding.weight"].shape
            shapes |= {"num_vq_embeddings": entries, **({"vq_embed_dim": width} if width != latent_channels else {})}
    except (KeyError, IndexError, ValueError) as error:
        raise InputError(f"{source} comes without config.json, and its tensors are no complete autoencoder ({error})") from None
    widths = {width for level in (*down, *up) for width in [level["width"]]}
    bad = sorted(width for width in widths if width % GROUPS)
    if bad:
        raise InputError(
            f"{source} comes without config.json, and widths {bad} are no multiples of {GROUPS}, the usual number of groups "
            "of the normalisations. Put config.json beside it"
        )
    middle = any(name.startswith("encoder.mid_block.attentions.") for name in tensors)
    return shapes | {
        "latent_channels": latent_channels,
        "norm_num_groups": GROUPS,
        "mid_block_add_attention": middle,
        "down_block_types": [("Attn" if level["attention"] else "") + "DownEncoderBlock2D" for level in down],
        "up_block_types": [("Attn" if level["attention"] else "") + "UpDecoderBlock2D" for level in up[::-1]],
    }


def _kind(tensors: Tensors, down: list[dict[str, Any]], up: list[dict[str, Any]]) -> dict[str, Any]:
    """Class, widths and depths."""
    conditional = any(name.startswith("decoder.condition_encoder.") for name in tensors)
    kind = "VQModel" if "quantize.embedding.weight" in tensors else "AutoencoderKL"
    widths, depth = [level["width"] for level in down], down[0]["layers"]
    if not conditional:
        return {"_class_name": kind, "block_out_channels": widths, "layers_per_block": depth}
    blends = any(name.startswith("decoder.condition_blends.") for name in tensors)
    return {
        "_class_name": f"Asymmetric{kind}",
        "down_block_out_channels": widths,
        "layers_per_down_block": depth,
        "up_block_out_channels": [level["width"] for level in up],
        "layers_per_up_block": up[0]["layers"] - 1,
        **({"blend": "concatenate"} if blends else {}),
    }


def _side(tensors: Tensors, prefix: str) -> list[dict[str, Any]]:
    """Width, number of residual blocks and attention of each level, in the order of the names."""
    pattern = re.compile(re.escape(prefix) + r"\.([0-9]+)\.(resnets|attentions)\.([0-9]+)\.")
    layers: dict[int, int] = {}
    attention: set[int] = set()
    for found in filter(None, map(pattern.match, tensors)):
        level, layer = int(found[1]), int(found[3])
        if max(level, layer) >= LONGEST:
            raise ValueError(f"{prefix} has a level or layer number {max(level, layer)}")
        layers[level] = max(layers.get(level, 0), layer + 1)
        if found[2] == "attentions":
            attention.add(level)
    return [
        {
            "width": tensors[f"{prefix}.{level}.resnets.0.conv1.weight"].shape[0],
            "layers": layers[level],
            "attention": level in attention,
        }
        for level in range(max(layers) + 1)
    ]

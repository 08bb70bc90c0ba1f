"""Whole pipelines from folders, or from other pipelines."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from transformers import CLIPImageProcessor, CLIPTokenizer

from asym_jax.arrays import Params
from asym_jax.errors import InputError
from asym_jax.models.autoencoder import AsymmetricAutoencoderKL, AutoencoderKL
from asym_jax.pipelines.components import read_safety_checker, read_scheduler, read_text_encoder, read_unet
from asym_jax.pipelines.quiet import REMINDER, no_farewell
from asym_jax.pipelines.safety import SafetyChecker, safety_checker
from asym_jax.pipelines.vae import Autoencoder, FlaxConditionedAutoencoderKL
from asym_jax.weights import load_pretrained
from asym_jax.weights.kinship import differing_half
from asym_jax.weights.sources.snapshot import pipeline_folder

Decoder = tuple[Autoencoder, Params] | str | Path
"""What `asym_jax.weights.load_pretrained` gives, or what it takes."""

SafetyChecking = Literal["keep", "drop"]

Task = Literal["inpainting", "text to image", "Paint by Example"]


class Loaded(NamedTuple):
    """The parts that every pipeline has, and their parameters."""

    folder: Path
    modules: dict[str, Any]
    params: Params
    types: dict[str, DTypeLike]


def load_shared(source: str | Path, *, revision: str | None, dtype: DTypeLike, param_dtype: DTypeLike) -> Loaded:
    """Network, autoencoder, scheduler and safety checker from a folder or the hub.

    Raises:
        InputError: a part is missing, damaged, or of a kind that is not known here.
    """
    folder = pipeline_folder(source, revision=revision)
    types = {"dtype": dtype, "param_dtype": param_dtype}
    model, vae_params = load_pretrained(folder / "vae", **types)
    unet, unet_params = read_unet(folder / "unet", **types)
    scheduler, state = read_scheduler(folder / "scheduler")
    modules = {"vae": FlaxConditionedAutoencoderKL.of(_gaussian(model)), "unet": unet, "scheduler": scheduler}
    params = {"vae": vae_params, "unet": unet_params, "scheduler": state}
    extractor = (folder / "feature_extractor").is_dir()
    modules["feature_extractor"] = CLIPImageProcessor.from_pretrained(folder / "feature_extractor") if extractor else None
    modules["safety_checker"] = None
    if (folder / "safety_checker").is_dir():
        modules["safety_checker"], params["safety_checker"] = read_safety_checker(
            folder / "safety_checker", param_dtype=param_dtype
        )
    return Loaded(folder, modules, params, types)


def add_words(loaded: Loaded) -> None:
    """Reads the parts that only pipelines with words have."""
    text_encoder, params = read_text_encoder(loaded.folder / "text_encoder", **loaded.types)
    loaded.modules["text_encoder"], loaded.params["text_encoder"] = text_encoder, params
    loaded.modules["tokenizer"] = read_tokenizer(loaded.folder / "tokenizer")


def require_kind(source: Path | str, modules: dict[str, Any], task: Task) -> None:
    """Raises InputError unless the network takes as many channels as the task gives it."""
    latent, found = modules["vae"].config.latent_channels, modules["unet"].config.in_channels
    channels = latent if task == "text to image" else 2 * latent + 1  # with the masked picture's latents, and the mask
    if found != channels:
        raise InputError(f"{source} has a network of {found} input channels, and {task} needs one of {channels}")


def adopted_pipeline(
    cls: Any, pipeline: Any, params: Params, decoder: Decoder | None, safety: SafetyChecking, task: Task
) -> tuple[Any, Params]:
    """A pipeline of class `cls` from another, with another decoder, and its parameters, which are shared, not copied.

    Raises:
        InputError: the pipeline is for another task, or the decoder for other latents.
    """
    required, optional = cls._get_signature_keys(cls)
    names = sorted((required | optional) - {"dtype"})
    missing = [name for name in names if not hasattr(pipeline, name)]
    if missing:
        kind = type(pipeline).__name__
        raise InputError(f"a {kind} has no {' and no '.join(missing)}, which {task} needs: give a pipeline for {task}")
    modules = {name: getattr(pipeline, name) for name in names}
    require_kind("the pipeline", modules, task)
    return adopted(cls, modules, dict(params), decoder, safety, pipeline.dtype)


def adopted(
    cls: Any, modules: dict[str, Any], params: Params, decoder: Decoder | None, safety: SafetyChecking, dtype: DTypeLike
) -> tuple[Any, Params]:
    """A pipeline of class `cls` from the parts of another, with another decoder, and its parameters."""
    modules["vae"], params["vae"] = with_decoder(modules["vae"], params["vae"], decoder, dtype=dtype)
    if safety == "drop":
        modules["safety_checker"] = None
        params.pop("safety_checker", None)
    checker = modules["safety_checker"]
    if checker is not None and not isinstance(checker, SafetyChecker):
        modules["safety_checker"] = safety_checker(checker.config)
    with no_farewell(*[REMINDER] * (safety == "drop")):
        return cls(**modules, dtype=dtype), params


def with_decoder(
    vae: Any, vae_params: Params, decoder: Decoder | None, *, dtype: DTypeLike
) -> tuple[FlaxConditionedAutoencoderKL, Params]:
    """The autoencoder that takes the place of a pipeline's own.

    Args:
        vae: diffusers' FlaxAutoencoderKL, or what this gave before.
        decoder: None keeps the numbers of `vae`; what is read from files is kept in the type of `vae_params`.

    Raises:
        InputError: `decoder` was trained for the latents of another encoder.
    """
    if decoder is None:
        return (vae if isinstance(vae, FlaxConditionedAutoencoderKL) else FlaxConditionedAutoencoderKL.of(_plain(vae))), vae_params
    kept = jnp.result_type(*jax.tree.leaves(vae_params))
    model, params = decoder if isinstance(decoder, tuple) else load_pretrained(decoder, dtype=dtype, param_dtype=kept)
    part = differing_half(params, vae_params)
    if part:
        raise InputError(f"the decoder was not trained for this pipeline's latents: their {part}s differ")
    return FlaxConditionedAutoencoderKL.of(_gaussian(model)), params


def _plain(vae: Any) -> AutoencoderKL:
    """Our twin of diffusers' FlaxAutoencoderKL."""
    config = vae.config
    names = ("block_out_channels", "layers_per_block", "latent_channels", "norm_num_groups", "scaling_factor", "sample_size")
    settings = {name: getattr(config, name) for name in names}
    return AutoencoderKL(**settings | {"block_out_channels": tuple(config.block_out_channels)}, dtype=vae.dtype)


def _gaussian(model: Any) -> Autoencoder:
    if not isinstance(model, AutoencoderKL | AsymmetricAutoencoderKL):
        raise InputError(f"Stable Diffusion's pipelines have latents of an AutoencoderKL, and this is a {type(model).__name__}")
    return model


def read_tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's tokenizer. Raises InputError if its files are absent."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}, which a pipeline with words needs")
    return CLIPTokenizer.from_pretrained(folder)

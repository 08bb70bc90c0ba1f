"""Stable Diffusion's inpainting, decoded by a decoder that sees what is to be kept."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from diffusers import FlaxDiffusionPipeline, FlaxStableDiffusionInpaintPipeline
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from asym_jax.arrays import Latents, Params
from asym_jax.errors import InputError
from asym_jax.models.blend import shrink_mask
from asym_jax.pipelines.conditions import embed_words, scaled_posterior
from asym_jax.pipelines.denoise import POSTERIOR, START, denoise, guided, noise_for, picture_keys
from asym_jax.pipelines.finishing import Generated, SharedSteps
from asym_jax.pipelines.inputs import (
    MaskPicture,
    OneOrAnyImages,
    OneOrAnyMask,
    Picture,
    as_pairs,
    places,
    require_size,
    word_ids,
)
from asym_jax.pipelines.loading import Decoder, SafetyChecking, add_words, adopted, adopted_pipeline, load_shared, require_kind
from asym_jax.pipelines.quiet import no_farewell
from asym_jax.pipelines.schedule import INPAINTING, Sampling, Table
from asym_jax.pipelines.stock import call_stock
from asym_jax.pipelines.vae import ConditionedVAE, channels_last


class InpaintInputs(NamedTuple):
    """A batch; every array may be spread over devices along its first axis, but a picture that stands for all."""

    prompt_ids: Int[Array | np.ndarray, "b t"]
    negative_ids: Int[Array | np.ndarray, "b t"]
    image: OneOrAnyImages  # whole, in [-1, 1]
    mask: OneOrAnyMask  # in [0, 1]: soft masks reach the decoder as they are, the network sees them cut at 0.5
    index: Int[Array | np.ndarray, " b"]  # in the data set; decides the noise, together with the seed


class FlaxAsymmetricInpaintPipeline(SharedSteps, FlaxStableDiffusionInpaintPipeline):
    """diffusers' pipeline with another decoder: `latents` and `decode`, or both in `generate`; or as diffusers is called."""

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        decoder: Decoder | None = None,
        *,
        revision: str | None = None,
        safety_checker: SafetyChecking = "keep",
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
    ) -> tuple["FlaxAsymmetricInpaintPipeline", Params]:
        """Pipeline and parameters from a folder (diffusers' Flax or PyTorch layout, or `save_pretrained`) or a hub id.

        Args:
            decoder: None keeps the folder's own.
            safety_checker: "drop" goes without the one in the folder.

        Raises:
            InputError: a part is missing or damaged, or the decoder is for other latents.
        """
        with no_farewell():
            loaded = load_shared(source, revision=revision, dtype=dtype, param_dtype=param_dtype)
            modules, params = loaded.modules, loaded.params
            require_kind(loaded.folder, modules, "inpainting")
            add_words(loaded)
            return adopted(cls, modules, params, decoder, safety_checker, dtype)

    @classmethod
    def from_pipeline(
        cls,
        pipeline: FlaxDiffusionPipeline,
        params: Params,
        decoder: Decoder | None = None,
        *,
        safety_checker: SafetyChecking = "keep",
    ) -> tuple["FlaxAsymmetricInpaintPipeline", Params]:
        """The same from a pipeline that diffusers loaded, or one of ours; its parameters are shared, not copied.

        Raises:
            InputError: the pipeline is for another task, or the decoder for other latents.
        """
        with no_farewell():
            return adopted_pipeline(cls, pipeline, params, decoder, safety_checker, "inpainting")

    def prepare(
        self,
        prompts: Sequence[str],
        images: Sequence[Picture],
        masks: Sequence[MaskPicture],
        *,
        negative_prompts: Sequence[str] | None = None,
        index: Sequence[int] | None = None,
    ) -> InpaintInputs:
        """A batch from words, whole pictures and masks (white is regenerated), of one size that fits the network.

        One picture and one mask may stand for all prompts: several results for one picture, which is then encoded once, and
        what the decoder makes of it is computed once.

        Raises:
            InputError: sizes or numbers differ or do not fit, or values are out of range.
        """
        ids = word_ids(self.tokenizer, prompts, negative_prompts)
        image, mask = as_pairs(images, masks, multiple=self.multiple)
        if len(image) != len(mask) or len(image) not in (1, len(prompts)):
            raise InputError(
                f"{len(prompts)} prompts, {len(image)} pictures and {len(mask)} masks: give one of each for every result, "
                "or one picture and one mask for all prompts"
            )
        return InpaintInputs(*ids, image, mask, places(index, len(prompts)))

    def latents(self, params: Params, inputs: InpaintInputs, *, seed: int = 0, sampling: Sampling = INPAINTING) -> Latents:
        """Unscaled latents, for any decoder: the same whatever the batch, the devices and the decoder.

        Raises:
            InputError: the scheduler or `sampling` is not possible, or the size does not fit.
        """
        require_size(*inputs.image.shape[1:3], self.multiple)
        needed = {name: params[name] for name in ("text_encoder", "unet", "vae")}
        rows, guidance = self.table(sampling), jnp.float32(sampling.guidance)
        with no_farewell():
            return _latents(self, sampling.guidance > 1, sampling.eta > 0, needed, inputs, seed, rows, guidance)

    def generate(
        self,
        params: Params,
        inputs: InpaintInputs,
        *,
        seed: int = 0,
        sampling: Sampling = INPAINTING,
        tile: int | None = None,
    ) -> Generated:
        """Finished pictures; `latents` and `decode` in one, and the safety checker, if there is one."""
        latents = self.latents(params, inputs, seed=seed, sampling=sampling)
        return self.finish(params, self.decode(params, latents, image=inputs.image, mask=inputs.mask, tile=tile))

    def __call__(
        self,
        prompt_ids: Int[Array | np.ndarray, "..."],
        mask: Float[Array | np.ndarray, "..."],
        masked_image: Float[Array | np.ndarray, "..."],
        params: Params,
        prng_seed: Array | np.ndarray,
        num_inference_steps: int = 50,
        height: int | None = None,
        width: int | None = None,
        guidance_scale: Any = 7.5,
        latents: Array | np.ndarray | None = None,
        neg_prompt_ids: Array | np.ndarray | None = None,
        return_dict: bool = True,
        jit: bool = False,
    ) -> Any:
        """As diffusers' pipeline is called, with its scheduler; with `jit=True` by `pmap` over all devices.

        Arrays are channels-first, from `prepare_inputs`, with an axis of devices in front if `jit`. The decoder sees
        `masked_image`, so masks must be hard. Pictures come back as from diffusers, in [0, 1].

        Raises:
            InputError: the pictures do not fit the network or would have to be resized, or the steps are too few.
        """
        size = tuple(mask.shape[-2:])
        if masked_image.shape[-2:] != size or (height or size[0], width or size[1]) != size:
            raise InputError(f"mask, picture and result must have one size; the mask has {size} (nothing is resized here)")
        optional = {"latents": latents, "neg_prompt_ids": neg_prompt_ids}
        settings = {"steps": num_inference_steps, "guidance_scale": guidance_scale, "return_dict": return_dict, "jit": jit}
        arrays = (prompt_ids, mask, masked_image)
        return call_stock(self, super().__call__, arrays, params, prng_seed, size=size, **settings, **optional)

    def _generate(self, prompt_ids: Any, mask: Any, masked_image: Any, params: Params, *rest: Any) -> Array:
        """diffusers' own, which is traced for one device or for many: with image and mask for the decoder."""
        vae = self.vae
        small = shrink_mask(channels_last(mask), height=mask.shape[2] // self.stride, width=mask.shape[3] // self.stride)
        self.vae = ConditionedVAE(vae, masked_image, mask)
        try:
            with no_farewell():
                return super()._generate(prompt_ids, small.transpose(0, 3, 1, 2), masked_image, params, *rest)
        finally:
            self.vae = vae


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _latents(
    pipeline: FlaxAsymmetricInpaintPipeline,
    is_guided: bool,
    noisy: bool,
    params: Params,
    inputs: InpaintInputs,
    seed: Int[Array, ""],
    rows: Table,
    guidance: Array,
) -> Latents:
    vae = pipeline.vae
    ids, negative_ids, image, mask, index = inputs
    hard = (mask >= 0.5).astype(jnp.float32)
    keys = picture_keys(seed, index)
    shape = (image.shape[1] // pipeline.stride, image.shape[2] // pipeline.stride, vae.config.latent_channels)
    context = embed_words(pipeline, params["text_encoder"], ids, negative_ids, is_guided)
    masked = scaled_posterior(vae, params["vae"], image * (1 - hard), noise_for(keys, POSTERIOR, shape))
    small = jnp.broadcast_to(shrink_mask(hard, height=shape[0], width=shape[1]), (len(ids), *shape[:2], 1))
    predict = guided(
        pipeline.unet, params["unet"], context, guidance, lambda latents: jnp.concatenate([latents, small, masked], axis=-1)
    )
    return denoise(predict, rows, noise_for(keys, START, shape), keys, noisy=noisy) / vae.config.scaling_factor

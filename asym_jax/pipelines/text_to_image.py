"""Stable Diffusion's text to image, decoded by another decoder, without picture or mask."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from diffusers import FlaxDiffusionPipeline, FlaxStableDiffusionPipeline
from jax.typing import DTypeLike
from jaxtyping import Array, Int

from asym_jax.arrays import Latents, Params
from asym_jax.pipelines.conditions import embed_words
from asym_jax.pipelines.denoise import START, denoise, guided, noise_for, picture_keys
from asym_jax.pipelines.finishing import Generated, SharedSteps
from asym_jax.pipelines.inputs import places, require_size, word_ids
from asym_jax.pipelines.loading import Decoder, SafetyChecking, add_words, adopted, adopted_pipeline, load_shared, require_kind
from asym_jax.pipelines.quiet import no_farewell
from asym_jax.pipelines.schedule import TEXT_TO_IMAGE, Sampling, Table
from asym_jax.pipelines.stock import call_stock


class TextInputs(NamedTuple):
    """A batch; every array may be spread over devices along its first axis."""

    prompt_ids: Int[Array | np.ndarray, "b t"]
    negative_ids: Int[Array | np.ndarray, "b t"]
    index: Int[Array | np.ndarray, " b"]  # in the data set; decides the noise, together with the seed


class FlaxAsymmetricTextToImagePipeline(SharedSteps, FlaxStableDiffusionPipeline):
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
    ) -> tuple["FlaxAsymmetricTextToImagePipeline", Params]:
        """As `FlaxAsymmetricInpaintPipeline.from_pretrained`."""
        with no_farewell():
            loaded = load_shared(source, revision=revision, dtype=dtype, param_dtype=param_dtype)
            modules, params = loaded.modules, loaded.params
            require_kind(loaded.folder, modules, "text to image")
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
    ) -> tuple["FlaxAsymmetricTextToImagePipeline", Params]:
        """As `FlaxAsymmetricInpaintPipeline.from_pipeline`."""
        with no_farewell():
            return adopted_pipeline(cls, pipeline, params, decoder, safety_checker, "text to image")

    def prepare(
        self, prompts: Sequence[str], *, negative_prompts: Sequence[str] | None = None, index: Sequence[int] | None = None
    ) -> TextInputs:
        """A batch from words.

        Raises:
            InputError: there are no prompts, numbers differ, or a string stands where a list belongs.
        """
        ids = word_ids(self.tokenizer, prompts, negative_prompts)
        return TextInputs(*ids, places(index, len(prompts)))

    def latents(
        self,
        params: Params,
        inputs: TextInputs,
        *,
        height: int = 512,
        width: int = 512,
        seed: int = 0,
        sampling: Sampling = TEXT_TO_IMAGE,
    ) -> Latents:
        """Unscaled latents, for any decoder: the same whatever the batch, the devices and the decoder.

        Raises:
            InputError: the scheduler or `sampling` is not possible, or the size does not fit.
        """
        require_size(height, width, self.multiple)
        needed = {name: params[name] for name in ("text_encoder", "unet")}
        rows, guidance = self.table(sampling), jnp.float32(sampling.guidance)
        shape = (height // self.stride, width // self.stride, self.vae.config.latent_channels)
        with no_farewell():
            return _latents(self, shape, sampling.guidance > 1, sampling.eta > 0, needed, inputs, seed, rows, guidance)

    def generate(
        self,
        params: Params,
        inputs: TextInputs,
        *,
        height: int = 512,
        width: int = 512,
        seed: int = 0,
        sampling: Sampling = TEXT_TO_IMAGE,
        tile: int | None = None,
    ) -> Generated:
        """Finished pictures; `latents` and `decode` in one, and the safety checker, if there is one."""
        latents = self.latents(params, inputs, height=height, width=width, seed=seed, sampling=sampling)
        return self.finish(params, self.decode(params, latents, tile=tile))

    def __call__(
        self,
        prompt_ids: Int[Array | np.ndarray, "..."],
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

        Raises:
            InputError: the size does not fit the network, or the steps are too few.
        """
        side = self.unet.config.sample_size * self.stride
        optional = {"latents": latents, "neg_prompt_ids": neg_prompt_ids}
        settings = {"steps": num_inference_steps, "guidance_scale": guidance_scale, "return_dict": return_dict, "jit": jit}
        size = (height or side, width or side)
        return call_stock(self, super().__call__, (prompt_ids,), params, prng_seed, size=size, **settings, **optional)

    def _generate(self, *given: Any) -> Array:
        """diffusers' own, in silence."""
        with no_farewell():
            return super()._generate(*given)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _latents(
    pipeline: FlaxAsymmetricTextToImagePipeline,
    shape: tuple[int, int, int],
    is_guided: bool,
    noisy: bool,
    params: Params,
    inputs: TextInputs,
    seed: Int[Array, ""],
    rows: Table,
    guidance: Array,
) -> Latents:
    keys = picture_keys(seed, inputs.index)
    context = embed_words(pipeline, params["text_encoder"], inputs.prompt_ids, inputs.negative_ids, is_guided)
    predict = guided(pipeline.unet, params["unet"], context, guidance, lambda latents: latents)
    return denoise(predict, rows, noise_for(keys, START, shape), keys, noisy=noisy) / pipeline.vae.config.scaling_factor

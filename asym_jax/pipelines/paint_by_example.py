"""Paint by Example (arXiv 2211.13227): a hole is filled after a picture of what shall be there."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from diffusers.pipelines.pipeline_flax_utils import FlaxDiffusionPipeline
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int
from PIL import Image
from transformers import CLIPVisionConfig

from asym_jax.arrays import Latents, Mask, Params
from asym_jax.errors import InputError
from asym_jax.models.blend import shrink_mask
from asym_jax.pipelines.components import read_config, read_params, typed
from asym_jax.pipelines.conditions import scaled_posterior
from asym_jax.pipelines.denoise import POSTERIOR, START, denoise, guided, noise_for, picture_keys
from asym_jax.pipelines.example import ExampleEncoder
from asym_jax.pipelines.finishing import Generated, SharedSteps
from asym_jax.pipelines.inputs import AnyImages, AnyMask, MaskPicture, Picture, as_examples, as_pairs, places, require_size
from asym_jax.pipelines.loading import Decoder, SafetyChecking, adopted, adopted_pipeline, load_shared, require_kind
from asym_jax.pipelines.quiet import no_farewell
from asym_jax.pipelines.schedule import PAINT_BY_EXAMPLE, Sampling, Table

MaskEdges = Literal["hard", "soft"]
"""How the mask is shrunk for the network: every 8th pixel, as diffusers does, or bilinearly, as the authors' test bench does."""


class ExampleInputs(NamedTuple):
    """A batch; every array may be spread over devices along its first axis."""

    examples: Float[Array | np.ndarray, "b S S 3"]  # normalised for CLIP
    image: AnyImages  # whole, in [-1, 1]
    mask: AnyMask  # in [0, 1], 1 is regenerated (the network is given the opposite)
    index: Int[Array | np.ndarray, " b"]  # in the data set; decides the noise, together with the seed


class FlaxPaintByExamplePipeline(SharedSteps, FlaxDiffusionPipeline):
    """Paint by Example in Flax, which diffusers only has for PyTorch, with any decoder."""

    def __init__(
        self,
        vae: Any,
        image_encoder: ExampleEncoder,
        unet: Any,
        scheduler: Any,
        safety_checker: Any = None,
        feature_extractor: Any = None,
        dtype: DTypeLike = jnp.float32,
    ) -> None:
        super().__init__()
        self.dtype = dtype
        parts = {"vae": vae, "image_encoder": image_encoder, "unet": unet, "scheduler": scheduler}
        self.register_modules(**parts, safety_checker=safety_checker, feature_extractor=feature_extractor)

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
    ) -> tuple["FlaxPaintByExamplePipeline", Params]:
        """Pipeline and parameters from a folder (PyTorch diffusers' layout, or `save_pretrained`) or a hub id.

        Args:
            decoder: None keeps the folder's own.
            safety_checker: "drop" goes without the one in the folder.

        Raises:
            InputError: a part is missing or damaged, or the decoder is for other latents.
        """
        with no_farewell():
            loaded = load_shared(source, revision=revision, dtype=dtype, param_dtype=param_dtype)
            modules, params = loaded.modules, loaded.params
            require_kind(loaded.folder, modules, "Paint by Example")
            folder = loaded.folder / "image_encoder"
            encoder = ExampleEncoder(CLIPVisionConfig.from_dict(read_config(folder)), dtype=dtype)
            shapes = jax.eval_shape(encoder.init_weights, jax.random.key(0))
            params["image_encoder"] = read_params(folder, typed(shapes, param_dtype))
            modules["image_encoder"] = encoder
            return adopted(cls, modules, params, decoder, safety_checker, dtype)

    @classmethod
    def from_pipeline(
        cls,
        pipeline: "FlaxPaintByExamplePipeline",
        params: Params,
        decoder: Decoder | None = None,
        *,
        safety_checker: SafetyChecking = "keep",
    ) -> tuple["FlaxPaintByExamplePipeline", Params]:
        """The same from one that is loaded, which must be ours: diffusers has none. Parameters are shared, not copied.

        Raises:
            InputError: the decoder is for other latents.
        """
        with no_farewell():
            return adopted_pipeline(cls, pipeline, params, decoder, safety_checker, "Paint by Example")

    def prepare(
        self,
        examples: Sequence[Image.Image],
        images: Sequence[Picture],
        masks: Sequence[MaskPicture],
        *,
        index: Sequence[int] | None = None,
    ) -> ExampleInputs:
        """A batch from examples, whole pictures and masks (white is regenerated), of one size that fits the network.

        Examples are squeezed into CLIP's square, as the authors' test bench does. (diffusers' CLIPImageProcessor would cut
        out the centre; whoever wants that puts its `pixel_values`, channels last, into the result.)

        Raises:
            InputError: sizes or numbers differ or do not fit, or values are out of range.
        """
        image, mask = as_pairs(images, masks, multiple=self.multiple)
        if not len(examples) == len(image) == len(mask):
            raise InputError(
                f"{len(examples)} examples, {len(image)} pictures and {len(mask)} masks: give one of each for every result"
            )
        squares = as_examples(examples, side=self.image_encoder.config.image_size)
        return ExampleInputs(squares, image, mask, places(index, len(image)))

    def latents(
        self,
        params: Params,
        inputs: ExampleInputs,
        *,
        seed: int = 0,
        sampling: Sampling = PAINT_BY_EXAMPLE,
        mask_edges: MaskEdges = "hard",
    ) -> Latents:
        """Unscaled latents, for any decoder: the same whatever the batch, the devices and the decoder.

        Raises:
            InputError: the scheduler or `sampling` is not possible, or the size does not fit.
        """
        require_size(*inputs.image.shape[1:3], self.multiple)
        needed = {name: params[name] for name in ("image_encoder", "unet", "vae")}
        rows, guidance = self.table(sampling), jnp.float32(sampling.guidance)
        with no_farewell():
            return _latents(self, mask_edges, sampling.guidance > 1, sampling.eta > 0, needed, inputs, seed, rows, guidance)

    def generate(
        self,
        params: Params,
        inputs: ExampleInputs,
        *,
        seed: int = 0,
        sampling: Sampling = PAINT_BY_EXAMPLE,
        mask_edges: MaskEdges = "hard",
        tile: int | None = None,
    ) -> Generated:
        """Finished pictures; `latents` and `decode` in one, and the safety checker, if there is one."""
        latents = self.latents(params, inputs, seed=seed, sampling=sampling, mask_edges=mask_edges)
        return self.finish(params, self.decode(params, latents, image=inputs.image, mask=inputs.mask, tile=tile))

    __call__ = generate


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _latents(
    pipeline: FlaxPaintByExamplePipeline,
    mask_edges: MaskEdges,
    is_guided: bool,
    noisy: bool,
    params: Params,
    inputs: ExampleInputs,
    seed: Int[Array, ""],
    rows: Table,
    guidance: Array,
) -> Latents:
    vae = pipeline.vae
    examples, image, mask, index = inputs
    kept = 1 - mask
    kept = (kept >= 0.5).astype(jnp.float32)
    keys = picture_keys(seed, index)
    shape = (image.shape[1] // pipeline.stride, image.shape[2] // pipeline.stride, vae.config.latent_channels)
    tokens, without = pipeline.image_encoder.apply({"params": params["image_encoder"]}, examples)
    context = tokens[:, None]
    if is_guided:
        context = jnp.concatenate([jnp.broadcast_to(without[None], context.shape), context], axis=1)
    masked = scaled_posterior(vae, params["vae"], image * kept, noise_for(keys, POSTERIOR, shape))
    small = shrink_mask(kept, height=shape[0], width=shape[1]) if mask_edges == "hard" else bilinear(kept, pipeline.stride)
    predict = guided(
        pipeline.unet, params["unet"], context, guidance, lambda latents: jnp.concatenate([latents, masked, small], axis=-1)
    )
    return denoise(predict, rows, noise_for(keys, START, shape), keys, noisy=noisy) / vae.config.scaling_factor


def bilinear(mask: Mask, stride: int) -> Float[Array, "b h w 1"]:
    """Shrunk as PyTorch's bilinear `interpolate` without antialiasing: the mean of the pixels around each centre."""
    if stride == 1:
        return mask
    first, second = (stride - 1) // 2, stride // 2
    rows = (mask[:, first::stride] + mask[:, second::stride]) / 2
    return (rows[:, :, first::stride] + rows[:, :, second::stride]) / 2

"""Latents of the tasks with a diffusion model: drawn once for each example, whatever decodes them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Array
from PIL import Image

from asym_jax.arrays import Images, Latents, Params
from asym_jax.data.evaluation_sets.examples import EvaluationExample
from asym_jax.errors import InputError
from asym_jax.evaluation.command import EvalCommand
from asym_jax.evaluation.subjects import Plain
from asym_jax.metrics.clip_score import box_of
from asym_jax.pipelines import FlaxAsymmetricInpaintPipeline, FlaxAsymmetricTextToImagePipeline, FlaxPaintByExamplePipeline
from asym_jax.pipelines.inpaint import InpaintInputs
from asym_jax.pipelines.inputs import as_examples, require_size, token_ids
from asym_jax.pipelines.paint_by_example import ExampleInputs
from asym_jax.pipelines.schedule import INPAINTING, PAINT_BY_EXAMPLE, TEXT_TO_IMAGE, Sampling
from asym_jax.pipelines.text_to_image import TextInputs

SCENE = "photograph of a beautiful empty scene, highest quality settings"
"""What the reference's inpainting script tells Stable Diffusion, whatever the picture."""


def open_diffusion(command: EvalCommand, *, size: int) -> "Diffusion":
    """The source of latents for a task, with the command's sampling or else the paper's.

    Raises:
        InputError: the pipeline cannot be loaded, is of another kind, or `size` does not fit it.
    """
    kind, defaults = _KINDS[command.task]
    given = {"steps": command.steps, "guidance": command.guidance, "eta": command.eta, "sampler": command.scheduler}
    if command.scheduler == "plms":
        defaults = defaults._replace(eta=0.0)  # the noise on the way is DDIM's
    sampling = defaults._replace(**{name: value for name, value in given.items() if value is not None})
    return kind(command, sampling, size)


class Diffusion:
    """What the three tasks have in common.

    Attributes:
        pipeline_class: the pipeline that makes the latents, and `parts`, what it needs for that.
        plain: the pipeline's own autoencoder.
    """

    pipeline_class: Any
    parts: tuple[str, ...]
    masked = True

    def __init__(self, command: EvalCommand, sampling: Sampling, size: int) -> None:
        try:
            self.pipeline, params = self.pipeline_class.from_pretrained(command.pipeline, safety_checker="drop")
            require_size(size, size, self.pipeline.multiple)
            self.pipeline.table(sampling)
        except InputError as error:
            raise InputError(f"--pipeline {command.pipeline}: {error}") from error
        self.plain = Plain(f"{command.pipeline}/vae", self.pipeline.vae.model, params["vae"])
        self.params: Params = {name: params[name] for name in self.parts}
        self.sampling, self.seed, self.size = sampling, command.seed, size
        self.described = f"{command.pipeline}, {sampling}, seed {command.seed}"

    def words(self, prompt: str) -> dict[str, np.ndarray]:
        """A prompt and no negative one, as numbers."""
        ids, negative = token_ids(self.pipeline.tokenizer, [prompt, ""])
        return {"prompt_ids": ids, "negative_ids": negative}


class InpaintLatents(Diffusion):
    """Stable Diffusion fills the hole; every picture is described by the same words."""

    pipeline_class = FlaxAsymmetricInpaintPipeline
    parts = ("text_encoder", "unet", "vae")

    def __init__(self, command: EvalCommand, sampling: Sampling, size: int) -> None:
        super().__init__(command, sampling, size)
        prompt = SCENE if command.prompt is None else command.prompt
        self.described += f", {prompt!r}"
        self._words = self.words(prompt)

    def inputs(self, example: EvaluationExample) -> Mapping[str, Any]:
        return self._words

    def latents(self, params: Params, images: Images, batch: Mapping[str, Array]) -> Latents:
        inputs = InpaintInputs(batch["prompt_ids"], batch["negative_ids"], images, batch["mask"], batch["index"])
        return self.pipeline.latents(params, inputs, seed=self.seed, sampling=self.sampling)


class ExampleLatents(Diffusion):
    """Paint by Example fills the hole after the example's reference, with the mask shrunk as the authors' test bench does."""

    pipeline_class = FlaxPaintByExamplePipeline
    parts = ("image_encoder", "unet", "vae")

    def inputs(self, example: EvaluationExample) -> Mapping[str, Any]:
        if example.reference is None:
            raise InputError(f"{example.name} has no reference picture: --task paint-by-example is for --images cocoee:DIR")
        if example.mask is not None:
            _require_box(example)
        side = self.pipeline.image_encoder.config.image_size
        return {"examples": as_examples([Image.fromarray(example.reference)], side=side)[0]}

    def latents(self, params: Params, images: Images, batch: Mapping[str, Array]) -> Latents:
        inputs = ExampleInputs(batch["examples"], images, batch["mask"], batch["index"])
        return self.pipeline.latents(params, inputs, seed=self.seed, sampling=self.sampling, mask_edges="soft")


class TextLatents(Diffusion):
    """Stable Diffusion draws what a caption says."""

    pipeline_class = FlaxAsymmetricTextToImagePipeline
    parts = ("text_encoder", "unet")
    masked = False

    def inputs(self, example: EvaluationExample) -> Mapping[str, Any]:
        if not example.captions:
            raise InputError(f"{example.name} has no caption: --task text-to-image is for --images coco-captions:DIR")
        return self.words(example.captions[0])

    def latents(self, params: Params, images: Images, batch: Mapping[str, Array]) -> Latents:
        inputs = TextInputs(batch["prompt_ids"], batch["negative_ids"], batch["index"])
        return self.pipeline.latents(params, inputs, height=self.size, width=self.size, seed=self.seed, sampling=self.sampling)


def _require_box(example: EvaluationExample) -> None:
    """Raises InputError for a hole that the CLIP score cannot cut out, before hours of diffusion and not after them."""
    try:
        box_of(example.mask[..., 0] >= 0.5)
    except ValueError as error:
        raise InputError(f"the mask of {example.name}: {error}") from error


_KINDS = {
    "inpaint": (InpaintLatents, INPAINTING),
    "paint-by-example": (ExampleLatents, PAINT_BY_EXAMPLE),
    "text-to-image": (TextLatents, TEXT_TO_IMAGE),
}

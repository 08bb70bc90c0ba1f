"""Stable Diffusion's pipelines in Flax, with decoders that keep what was to be kept (docs/pipelines.md).

The only part of the package that needs diffusers and transformers.
"""

from asym_jax.pipelines.quiet import no_farewell

with no_farewell():
    from asym_jax.pipelines.inpaint import FlaxAsymmetricInpaintPipeline
    from asym_jax.pipelines.paint_by_example import FlaxPaintByExamplePipeline
    from asym_jax.pipelines.text_to_image import FlaxAsymmetricTextToImagePipeline

__all__ = ["FlaxAsymmetricInpaintPipeline", "FlaxAsymmetricTextToImagePipeline", "FlaxPaintByExamplePipeline"]

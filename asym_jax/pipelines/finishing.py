"""What the three pipelines share: everything after the latents."""

import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from asym_jax.arrays import Images, Latents, Params
from asym_jax.models.autoencoder import AsymmetricAutoencoderKL
from asym_jax.models.tiles import decode_in_tiles
from asym_jax.pipelines.inputs import AnyImages, OneOrAnyImages, OneOrAnyMask, to_pil
from asym_jax.pipelines.saving import save_pipeline
from asym_jax.pipelines.schedule import Sampling, Table, table
from asym_jax.pipelines.vae import Autoencoder, FlaxConditionedAutoencoderKL


class Generated(NamedTuple):
    """Finished pictures."""

    images: Float[np.ndarray, "b H W 3"]  # in [-1, 1], clipped; black where flagged
    flagged: Bool[np.ndarray, " b"]  # by the safety checker; all False without one


class SharedSteps:
    """Everything after the latents, and saving: mixed into the pipelines."""

    vae: FlaxConditionedAutoencoderKL
    unet: Any
    scheduler: Any
    safety_checker: Any
    feature_extractor: Any

    @property
    def multiple(self) -> int:
        """What both sides of pictures must be multiples of: 64 for Stable Diffusion."""
        levels = len(self.unet.config.block_out_channels) + len(self.vae.config.block_out_channels)
        return 2 ** (levels - 2)

    @property
    def stride(self) -> int:
        """Pixels per latent: 8 for Stable Diffusion."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    def table(self, sampling: Sampling) -> Table:
        """The sampler's numbers for this pipeline's scheduler. Raises InputError as `schedule.table` does."""
        return table(self.scheduler.config, sampling)

    def decode(
        self,
        params: Params,
        latents: Latents,
        *,
        image: OneOrAnyImages | None = None,
        mask: OneOrAnyMask | None = None,
        tile: int | None = None,
    ) -> Images:
        """Pictures, unclipped, from what `latents` gave, with this pipeline's decoder. A plain one ignores `image` and `mask`.

        One picture and its mask may stand for all latents: what the decoder makes of them is then computed once.

        Args:
            tile: longest side of a window in latents, for pictures too large for the memory (see `models.tiles`).
        """
        condition = {"image": image, "mask": mask} if isinstance(self.vae.model, AsymmetricAutoencoderKL) else {}
        if tile:
            condition = {
                name: array if array is None else np.broadcast_to(array, (len(latents), *array.shape[1:]))
                for name, array in condition.items()
            }
            return jnp.asarray(decode_in_tiles(self.vae.model, params["vae"], latents, window=tile, **condition))
        return decode(self.vae.model, params["vae"], latents, **condition)

    def finish(self, params: Params, images: AnyImages) -> Generated:
        """Clips, and blackens what the safety checker objects to, if there is one."""
        pictures = np.clip(np.asarray(images, np.float32), -1, 1)
        flagged = np.zeros(len(pictures), bool)
        if self.safety_checker is not None:
            seen = self.feature_extractor(to_pil(pictures), return_tensors="np").pixel_values
            flagged = np.asarray(self.safety_checker(seen, params["safety_checker"]))
            pictures[flagged] = -1
        return Generated(pictures, flagged)

    def save_pretrained(self, save_directory: str | Path, params: Params, **_: Any) -> None:
        """Writes the whole pipeline, all or nothing; `from_pretrained` reads it back to the same bits.

        Raises:
            InputError: the folder holds something else than a pipeline, or cannot be written.
        """
        parts = {name: getattr(self, name) for name in self.config if not name.startswith("_")}
        save_pipeline(Path(save_directory), type(self).__name__, {n: part for n, part in parts.items() if part is not None}, params)


@functools.partial(jax.jit, static_argnums=0)
def decode(model: Autoencoder, params: Params, latents: Latents, image: Any = None, mask: Any = None) -> Images:
    """`model.apply(..., method="decode")`, compiled once per size; spread over devices as its arguments are."""
    condition = {} if image is None else {"image": image, "mask": mask}
    return model.apply({"params": params}, latents, method="decode", **condition)

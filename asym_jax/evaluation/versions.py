"""Several pictures from the same latents: one for each decoder that is compared."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from asym_jax.arrays import Images, Latents, Mask, Params, Pixels
from asym_jax.evaluation.subjects import PASTED, VANILLA, WITHOUT, Subjects

PRECISION = "highest"
"""Of the products of evaluated autoencoders, as `jax.default_matmul_precision` calls it: float32, on every device."""


class Plan(NamedTuple):
    """Which rows there are.

    Attributes:
        conditioned: the task has pictures to be kept: decoders see them, and they can be pasted.
        ablation: every trained decoder once more, seeing nothing but the latents.
    """

    conditioned: bool
    ablation: bool = False


def row_names(subjects: Subjects, plan: Plan) -> list[str]:
    """All rows: those of `versions`, and the one that `pasted` makes after the first."""
    names = [VANILLA, PASTED] if plan.conditioned else [VANILLA]
    for decoder in subjects.decoders:
        names.append(decoder.name)
        if plan.ablation:
            names.append(decoder.name + WITHOUT)
    return names


def versions(subjects: Subjects, plan: Plan, params: Params, latents: Latents, image: Images, mask: Mask) -> tuple[Images, ...]:
    """What each decoder makes of the same unscaled latents, in float32 and not yet clipped; the plain one first.

    `params` are those of `Subjects.params`; the models of `subjects` say how to use them. By default, accelerators would
    round the factors of products, which shows in pixels that are to be kept.
    """
    with jax.default_matmul_precision(PRECISION):
        return _decoded(subjects, plan, params, latents, image, mask)


def pasted(plain: Pixels, pixels: Pixels, mask: Mask) -> Pixels:
    """The row "copy-and-paste": the plain decoder's picture with the original's pixels outside the hole.

    It wins every comparison of kept pixels by definition, and shows a seam; that is why the seam is measured too.
    """
    return jnp.where(mask >= 0.5, plain, pixels)


def _decoded(subjects: Subjects, plan: Plan, params: Params, latents: Latents, image: Images, mask: Mask) -> tuple[Images, ...]:
    plain = subjects.vae.apply({"params": params["vae"]}, latents, method="decode").astype(jnp.float32)
    made = [plain]
    for decoder, weights in zip(subjects.decoders, params["decoders"], strict=True):

        def decode(**condition: Images | Mask) -> Images:
            decoded = decoder.model.apply({"params": weights}, latents, method="decode", **condition)  # noqa: B023
            return decoded.astype(jnp.float32)

        made.append(decode(image=image, mask=mask) if plan.conditioned else decode())
        if plan.ablation:
            made.append(decode())
    return tuple(made)

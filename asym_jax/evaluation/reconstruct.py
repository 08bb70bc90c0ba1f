"""The reconstruction task: the plain decoder and ours on the same latents of whole pictures."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Float, UInt8

from asym_jax.arrays import Mask, Params, PerImage, Pixels
from asym_jax.errors import InputError
from asym_jax.evaluation.pairs import Pairs, in_batches
from asym_jax.losses.lpips import lpips
from asym_jax.metrics.quantise import quantise
from asym_jax.metrics.scores import Summary, compare
from asym_jax.models.autoencoder import AsymmetricAutoencoder, SymmetricAutoencoder
from asym_jax.weights.kinship import differing_half
from asym_jax.weights.networks import load_lpips, lpips_problem

VANILLA = "vanilla"


class Decoders(NamedTuple):
    """Two autoencoders with the same encoder; only their decoders differ."""

    vae: SymmetricAutoencoder
    vae_params: Params
    model: AsymmetricAutoencoder
    params: Params
    name: str


class Result(NamedTuple):
    """What the report shows."""

    rows: list[dict[str, Any]]  # one per decoder, as in results.json
    skipped: dict[str, str]  # why a metric is null
    notes: list[str]
    pictures: dict[str, UInt8[np.ndarray, "k S S 3"]]  # the first few, by decoder
    errors: dict[str, Float[np.ndarray, " n"]]  # pre_error of each picture, by decoder


def require_same_encoder(decoders: Decoders) -> None:
    """Raises InputError unless both halves come from one VAE: else the same latents would not mean the same."""
    part = differing_half(decoders.params, decoders.vae_params)
    if part:
        raise InputError(f"{decoders.name} was not trained for this VAE: their {part}s differ. Give the right one with --vae.")


def reconstruct(decoders: Decoders, pairs: Pairs, *, batch_size: int, shown: int) -> Result:
    """Encodes every picture once (mean of the posterior, if there is one), decodes it twice, and compares 8-bit pictures.

    All devices share each batch. LPIPS is left out, with its reason, if its weights are absent.
    """
    devices = jax.device_count()
    batch_size = -(-batch_size // devices) * devices
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,))
    spread, everywhere = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())

    problem = lpips_problem()
    perceptual = None if problem else load_lpips()
    decode = jax.jit(
        lambda vae_params, params, pixels, mask: _decode(decoders, vae_params, params, pixels, mask),
        in_shardings=(everywhere, everywhere, spread, spread),
        out_shardings=everywhere,
    )
    judge = jax.jit(compare)
    distance = jax.jit(_lpips)
    weights = jax.device_put((decoders.vae_params, decoders.params), everywhere)

    names = (VANILLA, decoders.name)
    summaries: dict[str, Summary] = {}
    distances: dict[str, list[float]] = {name: [] for name in names}
    pictures: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for batch in in_batches(pairs, batch_size):
        pixels, mask = (jax.device_put(array, spread) for array in (batch.pixels, batch.masks))
        for name, version in zip(names, decode(*weights, pixels, mask), strict=True):
            part = Summary.of(jax.device_get(judge(pixels, version, mask)), batch.valid)
            summaries[name] = summaries[name].merge(part) if name in summaries else part
            if perceptual:
                values = distance(perceptual.vgg, perceptual.heads, pixels, version)
                distances[name].extend(np.asarray(values)[batch.valid].tolist())
            missing = shown - sum(len(part) for part in pictures[name])
            pictures[name].append(np.asarray(version)[batch.valid][: max(missing, 0)])

    rows = []
    for name in names:
        score = float(np.mean(distances[name])) if perceptual else None
        rows.append({"decoder": name, **summaries[name].results(), "lpips": score})
    notes = []
    if perceptual and not perceptual.verified:
        notes.append("unverified: the LPIPS weights are not the published files; do not compare these values")
    if pairs.skipped:
        notes.append(f"{len(pairs.skipped)} pictures could not be read and were left out: {', '.join(sorted(pairs.skipped)[:5])}")
    return Result(
        rows=rows,
        skipped={"lpips": problem} if problem else {},
        notes=notes,
        pictures={name: np.concatenate(parts) for name, parts in pictures.items()},
        errors={name: summaries[name].pre_error.per_picture() for name in names},
    )


def _decode(decoders: Decoders, vae_params: Params, params: Params, pixels: Pixels, mask: Mask) -> tuple[Pixels, Pixels]:
    image = pixels.astype(jnp.float32) / 127.5 - 1
    latents = decoders.vae.apply({"params": vae_params}, image, method="encode").mean
    plain = decoders.vae.apply({"params": vae_params}, latents, method="decode")
    ours = decoders.model.apply({"params": params}, latents, image=image, mask=mask, method="decode")
    return quantise(plain), quantise(ours)


def _lpips(vgg: Params, heads: tuple, pixels: Pixels, version: Pixels) -> PerImage:
    return lpips(vgg, heads, *(array.astype(jnp.float32) / 127.5 - 1 for array in (pixels, version)))

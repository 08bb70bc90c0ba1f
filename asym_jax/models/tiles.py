"""Decoding pictures that are too large for the memory of a device.

Two things in the decoder look at the whole picture, and would give every tile
colours of its own: self-attention in the middle, and the statistics of the group
normalisations. So the middle, which is as small as the latents, is computed whole
(`AttentionBlock` looks at some positions at a time). Above it, one residual block after the
other goes over the picture in overlapping windows: once for each normalisation,
to collect its statistics, and once more to compute the result. The features in
between lie in the memory of the host. What comes out is what the whole decoder
gives, up to rounding.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Shaped

from asym_jax.arrays import Features, Images, Latents, Mask, NewFeatures, Params
from asym_jax.models.autoencoder import AsymmetricAutoencoder, SymmetricAutoencoder
from asym_jax.models.decoder import Decoder
from asym_jax.models.normalisation.layer import GroupNorm
from asym_jax.models.windows import Place, area, windows

Autoencoder = SymmetricAutoencoder | AsymmetricAutoencoder


class Moments(NamedTuple):
    """What a group normalisation needs to know of its input."""

    mean: Float[Array | np.ndarray, "b k"]
    variance: Float[Array | np.ndarray, "b k"]


class Unit(NamedTuple):
    """What goes over the whole picture at once: the entry of a level, a residual block, or all that comes after the last level."""

    kind: Literal["entry", "block", "end"]
    level: int  # lowest resolution first
    layer: int = 0

    def norms(self) -> int:
        """How many group normalisations it has."""
        return {"entry": 0, "block": 2, "end": 1}[self.kind]


def decode_in_tiles(
    model: Autoencoder,
    params: Params,
    latents: Float[Array | np.ndarray, "b h w z"],
    *,
    image: Float[Array | np.ndarray, "b _ _ 3"] | None = None,
    mask: Float[Array | np.ndarray, "b _ _ 1"] | None = None,
    window: int = 64,
) -> Float[np.ndarray, "b H W 3"]:
    """What `model.apply(..., method="decode")` gives, with a memory on the device that hardly depends on the picture.

    The host holds the features between two residual blocks, at most two arrays of
    height x width x channels. It takes about twice the arithmetic.

    Args:
        window: longest side of a window, in latents (8 pixels each for four levels).

    Raises:
        ValueError: as `decode` does; or levels have self-attention, which looks at the whole picture.
    """
    if any(model.up_attention):
        raise ValueError("levels of this decoder have self-attention, which looks at the whole picture: it cannot be tiled")
    asymmetric = isinstance(model, AsymmetricAutoencoder)
    levels = len(model.up_block_out_channels if asymmetric else model.block_out_channels)
    layers = 1 + (model.layers_per_up_block if asymmetric else model.layers_per_block)
    condition = _checked(latents, image, mask, 2 ** (levels - 1))
    features = np.asarray(_begin(model, params, latents))
    places = list(itertools.product(*(windows(length, most=window) for length in features.shape[1:3])))
    for unit in _units(levels, layers):
        features = _sweep(model, params, unit, features, condition, places)
    return features


def _units(levels: int, layers: int) -> Iterator[Unit]:
    for level in range(levels):
        yield Unit("entry", level)
        yield from (Unit("block", level, layer) for layer in range(layers))
    yield Unit("end", levels)


def _checked(latents: Any, image: Any, mask: Any, scale: int) -> tuple[np.ndarray, np.ndarray] | None:
    if image is None and mask is None:
        return None
    if image is None or mask is None:
        raise ValueError("image and mask go together: give both, or neither for the plain decoder")
    expected = (len(latents), latents.shape[1] * scale, latents.shape[2] * scale)
    for name, array in (("image", image), ("mask", mask)):
        if array.shape[:3] != expected:
            raise ValueError(f"{name} has shape {array.shape}; latents of shape {latents.shape} need {expected}")
    return np.asarray(image), np.asarray(mask)


def _sweep(
    model: Autoencoder,
    params: Params,
    unit: Unit,
    features: Shaped[np.ndarray, "b h w c"],
    condition: tuple[np.ndarray, np.ndarray] | None,
    places: list[Place],
) -> Shaped[np.ndarray, "b _ _ _"]:
    """One unit on the whole picture."""
    height, width = (axis.kept[1] for axis in places[-1])
    parts = functools.partial(_parts, features, condition, places)
    statistics: tuple[Moments, ...] = ()
    for _ in range(unit.norms()):
        found = []
        for place, part in parts():
            inside = tuple((one.kept[0] - one.start, one.kept[1] - one.start) for one in place)
            moments = _collect(model, unit, params, *part, statistics, inside, place[0].size)
            found.append((area(place), jax.device_get(moments)))
        statistics = (*statistics, pooled(found))
    result: np.ndarray | None = None
    for (rows, columns), part in parts():
        computed = _compute(model, unit, params, *part, statistics)
        grown = computed.shape[1] // rows.size
        kept = np.asarray(computed[:, rows.kept_inside(grown), columns.kept_inside(grown)])
        if result is None:
            result = np.empty((len(kept), height * grown, width * grown, kept.shape[-1]), kept.dtype)
        result[:, slice(*(grown * end for end in rows.kept)), slice(*(grown * end for end in columns.kept))] = kept
    return result


def _parts(
    features: Shaped[np.ndarray, "b h w c"], condition: tuple[np.ndarray, np.ndarray] | None, places: list[Place]
) -> Iterator[tuple[Place, tuple]]:
    """Features, picture and mask in each window."""
    height = places[-1][0].kept[1]
    for place in places:
        rows, columns = place
        arrays = (features, *(condition or ()))
        seen = [array[:, rows.scaled(array.shape[1] // height), columns.scaled(array.shape[1] // height)] for array in arrays]
        yield place, (*seen, *[None] * (3 - len(seen)))


def pooled(parts: list[tuple[int, Moments]]) -> Moments:
    """Moments of a whole from those of its parts, each with its size."""
    sizes = np.asarray([size for size, _ in parts], np.float64).reshape(-1, 1, 1)
    share = sizes / sizes.sum()
    means, variances = (np.stack([np.float64(part[i]) for _, part in parts]) for i in range(2))
    mean = np.sum(share * means, axis=0)
    variance = np.sum(share * (variances + (means - mean[None]) ** 2), axis=0)
    return Moments(np.float32(mean), np.float32(variance))


@functools.partial(jax.jit, static_argnums=0)
def _begin(model: Autoencoder, params: Params, latents: Any) -> NewFeatures:
    def begin(module: Autoencoder, latents: Latents) -> NewFeatures:
        return module.decoder.begin(module.decoder_input(latents))

    return model.apply({"params": params}, latents, method=begin)


class _Collected(Exception):
    """Ends the tracing of a unit: nothing after this normalisation is needed."""

    def __init__(self, features: Features, groups: int) -> None:
        self.features, self.groups = features, groups


@functools.partial(jax.jit, static_argnums=(0, 1, 8))
def _collect(
    model: Autoencoder,
    unit: Unit,
    params: Params,
    features: Features,
    image: Images | None,
    mask: Mask | None,
    statistics: tuple[Moments, ...],
    inside: tuple[tuple[Any, Any], tuple[Any, Any]],
    height: int,
) -> Moments:
    """Of what the first normalisation not in `statistics` receives, where the window is kept."""
    try:
        _run(model, unit, params, features, image, mask, statistics)
    except _Collected as found:
        return _moments(found.features, found.groups, found.features.shape[1] // height, inside)
    raise AssertionError("every unit has as many normalisations as it says")


def _moments(features: Features, groups: int, scale: int, inside: tuple[tuple[Any, Any], tuple[Any, Any]]) -> Moments:
    b, h, w, c = features.shape
    rows, columns = (
        (jnp.arange(length) >= scale * first) & (jnp.arange(length) < scale * last)
        for length, (first, last) in zip((h, w), inside, strict=True)
    )
    kept = (rows[:, None] & columns[None, :]).astype(jnp.float32)[None, :, :, None, None]
    grouped = features.astype(jnp.float32).reshape(b, h, w, groups, c // groups)
    count = jnp.sum(kept) * (c // groups)
    mean = jnp.sum(grouped * kept, axis=(1, 2, 4)) / count  # first the mean, because it is not small
    apart = (grouped - mean[:, None, None, :, None]) * kept
    return Moments(mean, jnp.sum(apart**2, axis=(1, 2, 4)) / count)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _compute(
    model: Autoencoder,
    unit: Unit,
    params: Params,
    features: Features,
    image: Images | None,
    mask: Mask | None,
    statistics: tuple[Moments, ...],
) -> NewFeatures:
    return _run(model, unit, params, features, image, mask, statistics)


def _run(
    model: Autoencoder,
    unit: Unit,
    params: Params,
    features: Features,
    image: Images | None,
    mask: Mask | None,
    statistics: tuple[Moments, ...],
) -> NewFeatures:
    """One unit on a window. Raises _Collected at the first normalisation that `statistics` lacks."""
    left = iter(statistics)

    def normalise(call: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext) -> Any:
        if not isinstance(context.module, GroupNorm) or context.method_name != "__call__":
            return call(*args, **kwargs)
        moments = next(left, None)
        if moments is None:
            raise _Collected(args[0], context.module.num_groups)
        return _normalised(context.module, args[0], moments)

    with nn.intercept_methods(normalise):
        return model.apply({"params": params}, features, method=lambda module, x: _apply(module.decoder, unit, x, image, mask))


def _apply(decoder: Decoder, unit: Unit, features: Features, image: Images | None, mask: Mask | None) -> NewFeatures:
    if unit.kind == "block":
        return decoder.up_blocks[unit.level].resnets[unit.layer](features)
    if unit.kind == "entry" and unit.level:
        features = decoder.up_blocks[unit.level - 1].upsamplers[0](features)
    features = decoder.blended(unit.level, features, image, mask)
    return decoder.to_pixels(decoder.conv_norm_out(features)) if unit.kind == "end" else features


def _normalised(norm: GroupNorm, features: Features, moments: Moments) -> Features:
    b, h, w, c = features.shape
    grouped = features.astype(jnp.float32).reshape(b, h, w, norm.num_groups, -1)
    mean, variance = (jnp.asarray(one)[:, None, None, :, None] for one in moments)
    unit = ((grouped - mean) * jax.lax.rsqrt(variance + norm.epsilon)).reshape(b, h, w, c)
    scale, bias = (norm.get_variable("params", name).reshape(1, 1, 1, c) for name in ("scale", "bias"))
    normal = unit * scale + bias
    return (nn.silu(normal) if norm.silu else normal).astype(norm.dtype)

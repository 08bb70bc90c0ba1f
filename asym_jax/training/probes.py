"""A training step that tells where its first value that is not finite comes from."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float, PyTree

from asym_jax.arrays import Features, Images, Latents, Logits, Mask, Moments, NewFeatures, Params, PerImage, PRNGKey
from asym_jax.losses.reconstruction import pixel_loss
from asym_jax.training.step import Parts


class Finding(NamedTuple):
    """A tensor that was looked at."""

    place: str
    bad: Bool[np.ndarray, " _"]  # by picture, or one for the whole tensor
    elements: int


class Probes:
    """Checks on values and on gradients, in the order in which the step computes them.

    A check is an identity that reports to the host; a gradient that passes it is reported too. Both survive
    `jax.jit`, `jax.vjp` and the like, because each check gets its number when it is traced.
    """

    def __init__(self) -> None:
        self._looks: list[tuple[str, int]] = []  # place and size of a tensor, by number
        # What was reported stays as it came: a callback that looks into an array may wait for itself.
        self._reports: list[tuple[int, Array]] = []
        self._measured: dict[str, Array] = {}

    @property
    def first(self) -> Finding | None:
        """The first tensor that was not finite."""
        jax.effects_barrier()
        bad = [(number, np.asarray(rows)) for number, rows in self._reports]
        first = min((number for number, rows in bad if rows.any()), default=None)
        if first is None:
            return None
        place, elements = self._looks[first]
        return Finding(place, np.logical_or.reduce([rows for number, rows in bad if number == first]), elements)

    @property
    def checks(self) -> int:
        """How many tensors were looked at."""
        jax.effects_barrier()
        return len({number for number, _ in self._reports})

    @property
    def rows(self) -> dict[str, Float[np.ndarray, "b 2"]]:
        """The smallest and the largest value of each picture, by the names that `measure` was given."""
        jax.effects_barrier()
        return {name: np.asarray(values) for name, values in self._measured.items()}

    def check(self, place: str, values: PyTree, *, per_picture: bool = True) -> PyTree:
        """`values` unchanged, looked at now, and again when a gradient arrives there."""
        self._look(place, values, per_picture)
        return self.check_gradient(f"the gradient that arrives at {place}", values, per_picture=per_picture)

    def check_gradient(self, place: str, values: PyTree, *, per_picture: bool = True) -> PyTree:
        """`values` unchanged, looked at only when a gradient arrives there."""
        return _transparent(lambda gradient: self._look(place, gradient, per_picture), values)

    def measure(self, name: str, values: Float[Array, "b ..."]) -> None:
        """Keeps the smallest and the largest value of each picture for `rows`."""
        flat = values.reshape(len(values), -1)
        jax.debug.callback(functools.partial(self._measured.__setitem__, name), jnp.stack([flat.min(1), flat.max(1)], 1))

    def _look(self, place: str, values: PyTree, per_picture: bool) -> None:
        for path, leaf in jax.tree.leaves_with_path(values):
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                continue
            number, suffix = len(self._looks), jax.tree_util.keystr(path, simple=True, separator="/")
            self._looks.append((f"{place}/{suffix}" if suffix else place, leaf.size))
            bad = ~jnp.isfinite(leaf)
            by_picture = per_picture and leaf.ndim > 0
            bad = bad.reshape(len(leaf), -1).any(1) if by_picture else bad.any().reshape(1)
            jax.debug.callback(functools.partial(self._report, number), bad)

    def _report(self, number: int, bad: Array) -> None:
        self._reports.append((number, bad))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _transparent(look: Callable[[PyTree], None], values: PyTree) -> PyTree:
    return values


def _forward(look: Callable[[PyTree], None], values: PyTree) -> tuple[PyTree, None]:
    return values, None


def _backward(look: Callable[[PyTree], None], _: None, gradient: PyTree) -> tuple[PyTree]:
    look(gradient)
    return (gradient,)


_transparent.defvjp(_forward, _backward)


class ProbedParts:
    """`Parts` of a step with a check on everything that goes in and out of each of their modules."""

    def __init__(self, parts: Parts, probes: Probes, pixel: str) -> None:
        """`pixel` is the kind of pixel loss."""
        self._parts, self._probes, self._pixel = parts, probes, pixel
        self.decoder_tx, self.critic_tx, self.groups = parts.decoder_tx, parts.critic_tx, parts.groups

    def draw_masks(self, key: PRNGKey, image: Images) -> Mask:
        self._image = image
        return self._probes.check("the mask", self._parts.draw_masks(key, image))

    def draw_noise(self, key: PRNGKey, image: Images) -> Latents:
        return self._parts.draw_noise(key, image)

    def encode(self, frozen: Params, noise: Latents, image: Images) -> Latents:
        with self._modules(""):
            return self._probes.check("the latents", self._parts.encode(frozen, noise, image))

    def sample(self, frozen: Params, noise: Latents, moments: Moments) -> Latents:
        with self._modules(""):
            moments = self._probes.check("the cached moments", moments)
            return self._probes.check("the latents", self._parts.sample(frozen, noise, moments))

    def features(self, decoder: Params, latents: Latents, image: Images, mask: Mask) -> NewFeatures:
        decoder = self._parameters("decoder", decoder)
        with self._modules(""):
            return self._probes.check("the decoder's features", self._parts.features(decoder, latents, image, mask))

    def to_pixels(self, decoder: Params, features: Features) -> Images:
        decoder = self._parameters("decoder", decoder)
        with self._modules(""):
            reconstruction = self._probes.check("the reconstruction", self._parts.to_pixels(decoder, features))
        self._probes.measure("reconstruction", reconstruction)
        self._probes.measure("loss/pixel", pixel_loss(self._pixel, self._image, reconstruction))
        return reconstruction

    def criticise(self, critic: Params, image: Images) -> Logits:
        of = "originals" if image is self._image else "reconstructions"
        critic = self._parameters("critic", critic)
        with self._modules(f"critic on {of}: "):
            logits = self._probes.check(f"the critic's logits of {of}", self._parts.criticise(critic, image))
        self._probes.measure(f"logits of {of}", logits)
        return logits

    def perceptual(self, frozen: Params, image: Images, reconstruction: Images) -> PerImage:
        with self._modules("LPIPS: "):
            distance = self._probes.check("the perceptual loss", self._parts.perceptual(frozen, image, reconstruction))
        self._probes.measure("loss/perceptual", distance)
        return distance

    def _parameters(self, name: str, params: Params) -> Params:
        return self._probes.check_gradient(f"the gradient of parameter {name}", params, per_picture=False)

    @contextlib.contextmanager
    def _modules(self, prefix: str) -> Iterator[None]:
        """Checks what every module inside is given and gives."""

        def watched(call: Callable, args: tuple, kwargs: dict[str, Any], context: nn.module.InterceptorContext) -> PyTree:
            if context.method_name != "__call__":
                return call(*args, **kwargs)
            name = prefix + "/".join(context.module.path)
            args = self._probes.check_gradient(f"the gradient that leaves {name}", args)
            return self._probes.check(name, call(*args, **kwargs))

        with nn.intercept_methods(watched):
            yield

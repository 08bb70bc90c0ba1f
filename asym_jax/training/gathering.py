"""Networks whose weights lie split over devices, and are put together where they are used."""

import dataclasses
from collections.abc import Sequence

import jax
import optax
from jax.sharding import Mesh
from jaxtyping import PyTree

from asym_jax.arrays import Features, Images, Latents, Logits, Mask, Moments, NewFeatures, Params, PerImage, PRNGKey
from asym_jax.training.sharding import replicated
from asym_jax.training.step import Parts


@dataclasses.dataclass(frozen=True)
class Gathered:
    """`Parts` that gather their weights first, and leave their gradients split as the weights were.

    Without it, the compiler would have to guess which of the two to move, weights or features; features are larger.
    """

    parts: Parts
    mesh: Mesh
    decoder_places: PyTree
    critic_places: PyTree

    @property
    def decoder_tx(self) -> optax.GradientTransformation:
        return self.parts.decoder_tx

    @property
    def critic_tx(self) -> optax.GradientTransformation:
        return self.parts.critic_tx

    @property
    def groups(self) -> Sequence[tuple[str, float]]:
        return self.parts.groups

    def draw_masks(self, key: PRNGKey, image: Images) -> Mask:
        return self.parts.draw_masks(key, image)

    def draw_noise(self, key: PRNGKey, image: Images) -> Latents:
        return self.parts.draw_noise(key, image)

    def encode(self, frozen: Params, noise: Latents, image: Images) -> Latents:
        return self.parts.encode(self._whole(frozen), noise, image)

    def sample(self, frozen: Params, noise: Latents, moments: Moments) -> Latents:
        return self.parts.sample(self._whole(frozen), noise, moments)

    def features(self, decoder: Params, latents: Latents, image: Images, mask: Mask) -> NewFeatures:
        return self.parts.features(gather(decoder, self.decoder_places, self.mesh), latents, image, mask)

    def to_pixels(self, decoder: Params, features: Features) -> Images:
        return self.parts.to_pixels(gather(decoder, self.decoder_places, self.mesh), features)

    def criticise(self, critic: Params, image: Images) -> Logits:
        return self.parts.criticise(gather(critic, self.critic_places, self.mesh), image)

    def perceptual(self, frozen: Params, image: Images, reconstruction: Images) -> PerImage:
        return self.parts.perceptual(self._whole(frozen), image, reconstruction)

    def _whole(self, frozen: Params) -> Params:
        return jax.lax.with_sharding_constraint(frozen, replicated(self.mesh))


def gather(params: Params, places: PyTree, mesh: Mesh) -> Params:
    """`params` whole on every device; their gradients come back as `places` says."""

    @jax.custom_vjp
    def whole(split: Params) -> Params:
        return jax.lax.with_sharding_constraint(split, replicated(mesh))

    def forward(split: Params) -> tuple[Params, None]:
        return whole(split), None

    def backward(_: None, gradients: Params) -> tuple[Params]:
        return (jax.lax.with_sharding_constraint(gradients, places),)

    whole.defvjp(forward, backward)
    return whole(params)

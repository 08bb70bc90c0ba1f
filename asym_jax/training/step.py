"""One update of decoder and critic, as a pure function of its arguments."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from asym_jax.arrays import Features, Images, Latents, Logits, Mask, Moments, NewFeatures, Params, PerImage, Pixels, PRNGKey, Scalar
from asym_jax.config import LossConfig
from asym_jax.data.latent_cache import CachedBatch
from asym_jax.losses.adaptive import adaptive_weight
from asym_jax.losses.adversarial import critic_hinge, decoder_loss
from asym_jax.losses.reconstruction import pixel_loss
from asym_jax.models.convolutions import at_most
from asym_jax.training.accumulation import averaged_over_parts
from asym_jax.training.norms import critic_norms, group_norms
from asym_jax.training.optim import updates_applied
from asym_jax.training.state import TrainState, averaged
from asym_jax.training.together import Devices


@runtime_checkable
class Parts(Protocol):
    """The functions that an update is built from; weights are always arguments."""

    decoder_tx: optax.GradientTransformation
    critic_tx: optax.GradientTransformation
    groups: Sequence[tuple[str, float]]  # as `OptimConfig.groups`, for the norms by group

    def draw_masks(self, key: PRNGKey, image: Images) -> Mask: ...
    def draw_noise(self, key: PRNGKey, image: Images) -> Latents: ...
    def encode(self, frozen: Params, noise: Latents, image: Images) -> Latents: ...
    def sample(self, frozen: Params, noise: Latents, moments: Moments) -> Latents: ...
    def features(self, decoder: Params, latents: Latents, image: Images, mask: Mask) -> NewFeatures: ...
    def to_pixels(self, decoder: Params, features: Features) -> Images: ...
    def criticise(self, critic: Params, image: Images) -> Logits: ...
    def perceptual(self, frozen: Params, image: Images, reconstruction: Images) -> PerImage: ...


class Batch(NamedTuple):
    """What an update sees."""

    image: Images
    mask: Mask
    noise: Latents
    moments: Moments | None = None  # what the encoder gave for `image`, if that is known


class Found(NamedTuple):
    """What the losses of a batch, or of a part of it, say."""

    gradients: Params  # of the decoder
    critic_gradients: Params | None  # None while the critic sleeps
    metrics: dict[str, Scalar]  # `loss/total` among them


class CriticPass(NamedTuple):
    """What the critic says of one reconstruction."""

    cotangent: Images  # of the decoder's adversarial loss, at the reconstruction
    gradients: Params  # of the critic's own loss
    metrics: dict[str, Scalar]


def train_step(
    parts: Parts,
    loss: LossConfig,
    ema_decay: float,
    frozen: Params,
    root_key: PRNGKey,
    state: TrainState,
    batch: Pixels | CachedBatch,
    *,
    critic_awake: bool,
    accumulate: int = 1,
    devices: Devices | None = None,
) -> tuple[TrainState, dict[str, Scalar]]:
    """The next state and the scalars worth plotting.

    The decoder runs once. Both losses meet at the reconstruction: their
    cotangents go through the last convolution alone to give the adaptive weight,
    and their weighted sum goes back through the decoder once. The critic learns
    from that same reconstruction. (The released code decodes a second time for
    the critic, with the updated decoder and fresh noise.)

    The noise and the masks of step n depend on `root_key` and n alone, so a
    resumed run repeats them. A step whose loss, gradients, updates or results
    are not finite changes nothing but the step counter.

    Args:
        frozen: weights of encoder and perceptual network: an argument and not a
            closure, so that XLA does not bake them into the program.
        batch: pictures, or pictures with what the encoder gave for them, which is then not run.
        critic_awake: static; False compiles a step without any critic, for the
            steps before `loss.critic_start`.
        accumulate: parts that the batch is worked through in, one after another; gradients and scalars are averaged. Noise
            and masks are those of the whole batch. The adaptive weight and the critic's statistics are of each part.
        devices: over which the batch is spread; each part is spread over them too, and takes from every device what lies
            there already: part k is the k-th share of each device's share. None: one.
    """
    noise_key, mask_key = jax.random.split(jax.random.fold_in(root_key, state.step))
    pixels, moments = batch if isinstance(batch, CachedBatch) else (batch, None)
    image = pixels.astype(jnp.float32) / 127.5 - 1
    batch = Batch(image, parts.draw_masks(mask_key, image), parts.draw_noise(noise_key, image), moments)
    find = functools.partial(find_gradients, parts, loss, critic_awake=critic_awake)
    if devices is None:
        found = averaged_over_parts(lambda part: find(frozen, state, part), batch, parts=accumulate)
    else:
        found = _found_together(find, devices, critic_awake=critic_awake, accumulate=accumulate)(frozen, state, batch)
    gradients, critic_gradients, metrics = found
    if critic_gradients is None:
        critic_gradients = jax.tree.map(jnp.zeros_like, state.critic)
    candidate, norms = _apply(parts, ema_decay, state, gradients, critic_gradients)
    metrics |= norms

    finite = jnp.all(jnp.isfinite(jnp.stack([metrics["loss/total"], *norms.values()])))
    kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), candidate, state)
    applied = updates_applied(kept.decoder_opt)
    if applied is not None:
        metrics["skipped_steps"] = (state.step + 1 - applied).astype(jnp.float32)
    return kept._replace(step=state.step + 1), metrics | {"finite": finite.astype(jnp.float32)}


def _found_together(
    find: Callable[..., Found], devices: Devices, *, critic_awake: bool, accumulate: int
) -> Callable[[Params, TrainState, Batch], Found]:
    """`find` by all devices on their shares of a batch, averaged."""
    places = Found(devices.state.decoder, devices.state.critic if critic_awake else None, devices.everywhere)

    def look(frozen: Params, state: TrainState, share: Batch) -> Found:
        frozen = devices.whole(frozen, devices.frozen)
        networks = ("decoder", "critic")
        state = state._replace(**{name: devices.whole(getattr(state, name), getattr(devices.state, name)) for name in networks})

        def find_split(part: Batch) -> Found:
            return devices.split(find(frozen, state, part, mean=devices.mean), places)

        found = averaged_over_parts(find_split, share, parts=accumulate)
        with jax.named_scope("found"):
            return devices.mean_of_split(found, places)

    return devices.each(look, found=places)


# Rounding turns signs in L1, ReLU and maxima, and a single one can move all gradients by 1%: with large tiles those of the base
# model at 128 pixels were off by 0.8%, with small ones by 0.006%. These also compile several times faster.
@at_most("small")
def find_gradients(
    parts: Parts,
    loss: LossConfig,
    frozen: Params,
    state: TrainState,
    batch: Batch,
    *,
    critic_awake: bool,
    mean: Callable[[PyTree], PyTree] = lambda tree: tree,
) -> Found:
    """The gradients of both networks at `state`.

    Args:
        mean: the average over the devices that see other parts of the same batch. The adaptive weight depends on all of them;
            all other results are those of `batch` alone.
    """
    image, mask, noise, moments = batch
    latents = parts.encode(frozen, noise, image) if moments is None else parts.sample(frozen, noise, moments)
    latents = jax.lax.stop_gradient(latents)
    features, pull_to_decoder = jax.vjp(lambda decoder: parts.features(decoder, latents, image, mask), state.decoder)
    reconstruction, pull_to_features = jax.vjp(parts.to_pixels, state.decoder, features)
    (total, metrics), cotangent = jax.value_and_grad(reconstruction_loss, argnums=3, has_aux=True)(
        parts, loss, frozen, reconstruction, image
    )
    last_layer, _ = pull_to_features(cotangent)

    critic_gradients = None
    if critic_awake:
        critic = criticise(parts, state.critic, image, reconstruction)
        last_layer_adversarial, _ = pull_to_features(critic.cotangent)
        with jax.named_scope("last_layer"):
            kernels = mean([last_layer["conv_out"]["kernel"], last_layer_adversarial["conv_out"]["kernel"]])
        weight = adaptive_weight(*kernels, factor=loss.adversarial, maximum=loss.adaptive_max)
        share = adversarial_share(loss, state.step)
        felt = jnp.where(share > 0, weight * share if loss.adversarial_ramp else weight, 0.0)
        cotangent = cotangent + felt * critic.cotangent
        total = total + felt * critic.metrics["loss/adversarial"]
        critic_gradients = critic.gradients
        metrics |= critic.metrics | {"adaptive_weight": weight, "adversarial_share": share, "adversarial_weight": felt}
        metrics |= {
            "norm/last_layer/reconstruction": optax.tree.norm(kernels[0]),
            "norm/last_layer/adversarial": optax.tree.norm(kernels[1]),
        }

    last_layer, features_cotangent = pull_to_features(cotangent)
    (gradients,) = pull_to_decoder(features_cotangent)
    return Found(jax.tree.map(jnp.add, gradients, last_layer), critic_gradients, metrics | {"loss/total": total})


def adversarial_share(loss: LossConfig, step: Int[Array, ""]) -> Scalar:
    """How much of the adversarial term the decoder feels in update `step`, 0..1: nothing up to `adversarial_start`, then a ramp."""
    since = step - loss.adversarial_start
    if not loss.adversarial_ramp:
        return (since >= 0).astype(jnp.float32)
    return jnp.clip(since.astype(jnp.float32) / loss.adversarial_ramp, 0.0, 1.0)


def reconstruction_loss(
    parts: Parts, loss: LossConfig, frozen: Params, reconstruction: Images, image: Images
) -> tuple[Scalar, dict[str, Scalar]]:
    """Pixel and perceptual loss *summed* over each picture's 3HW elements, averaged over the batch, and both terms as means.

    LPIPS is added to every element before the sum, as in taming-transformers, so
    both terms weigh 1:1 as means; the adaptive weight and Adam's epsilon see the
    magnitudes of the released code.
    """
    pixel = jnp.mean(pixel_loss(loss.pixel, image, reconstruction))
    metrics = {"loss/pixel": pixel}
    mean = pixel
    if loss.perceptual:
        metrics["loss/perceptual"] = jnp.mean(parts.perceptual(frozen, image, reconstruction))
        mean = mean + loss.perceptual * metrics["loss/perceptual"]
    return mean * (image.size / image.shape[0]), metrics


def criticise(parts: Parts, critic: Params, image: Images, reconstruction: Images) -> CriticPass:
    """Both hinge losses at the present critic: the decoder's pull on the reconstruction, and the critic's own gradients."""
    real, pull_real = jax.vjp(lambda weights: parts.criticise(weights, image), critic)
    fake, pull_fake = jax.vjp(parts.criticise, critic, reconstruction)
    adversarial, at_fake = jax.value_and_grad(decoder_loss)(fake)
    _, cotangent = pull_fake(at_fake)
    own, (at_real, at_fake) = jax.value_and_grad(critic_hinge, argnums=(0, 1))(real, fake)
    gradients = jax.tree.map(jnp.add, *pull_real(at_real), pull_fake(at_fake)[0])
    metrics = {
        "loss/adversarial": adversarial,
        "loss/critic": own,
        "logits/real": jnp.mean(real),
        "logits/fake": jnp.mean(fake),
        "accuracy/real": jnp.mean((real > 0).astype(jnp.float32)),
        "accuracy/fake": jnp.mean((fake < 0).astype(jnp.float32)),
    }
    return CriticPass(cotangent, gradients, metrics)


def _apply(
    parts: Parts, ema_decay: float, state: TrainState, gradients: Params, critic_gradients: Params
) -> tuple[TrainState, dict[str, Scalar]]:
    updates, decoder_opt = parts.decoder_tx.update(gradients, state.decoder_opt, state.decoder)
    critic_updates, critic_opt = parts.critic_tx.update(critic_gradients, state.critic_opt, state.critic)
    decoder = optax.apply_updates(state.decoder, updates)
    following = TrainState(
        step=state.step,
        decoder=decoder,
        average=averaged(state.average, decoder, state.step, ema_decay),
        critic=optax.apply_updates(state.critic, critic_updates),
        decoder_opt=decoder_opt,
        critic_opt=critic_opt,
    )
    return following, {
        "norm/gradient": optax.tree.norm(gradients),
        "norm/update": optax.tree.norm(updates),
        "norm/parameters": optax.tree.norm(decoder),
        "norm/critic_gradient": optax.tree.norm(critic_gradients),
        **group_norms(parts.groups, gradient=gradients, update=updates, parameters=decoder),
        **critic_norms(update=critic_updates, parameters=following.critic),
    }

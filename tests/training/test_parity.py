"""Four updates against the same updates in PyTorch: asleep, awake, felt by the decoder, and felt once more."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.training.networks import build, initial_state
from asym_jax.training.step import train_step
from asym_jax.weights.names import to_torch
from tests.training.tiny import save_vae, tiny_config

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from tests.models.torch_vgg import torch_vgg, tree_of  # noqa: E402
from tests.training import torch_reference  # noqa: E402

pytestmark = pytest.mark.slow

CHANNELS = (8, 16, 32, 32)  # PyTorch derives the condition encoder's widths from the first and the last
UPDATES = 4
BATCH, SIDE = 4, 32
ROOT_KEY = jax.random.key(3)

SCALARS = 1e-4
CHANGES = 1e-3
ROUNDING = 2e-7
"""Norm of the error that a tensor may have, as a share of its total change, and of the tensor itself (float32 has 6e-8).

Measured on a CPU: 3e-6 for scalars and 9e-5 for changes. There is room because a ReLU at its kink, or a gradient of almost
zero whose sign Adam magnifies in its first steps, may fall to either side.
"""

WITHOUT_EFFECT = "mid_block.attentions.0.to_k.bias"
"""Softmax does not see it, so its gradient is rounding noise, which Adam magnifies."""


def our_side(vae: str):
    """Config, networks, frozen weights with LPIPS, and the first state."""
    config = tiny_config(
        vae,
        CHANNELS,
        loss={"critic_start": 1, "adversarial_start": 2},
        optim={"steps": 8, "ema_decay": 0.15},
        data={"image_size": SIDE, "batch_size": BATCH},
    )
    networks, frozen, given = build(config)
    heads = tuple(jnp.asarray(np.random.default_rng(4).uniform(0, 0.1, width), jnp.float32) for width in (64, 128, 256, 512, 512))
    frozen["lpips"] = {"vgg": tree_of(torch_vgg()), "heads": heads}
    config = config.model_copy(update={"loss": config.loss.model_copy(update={"perceptual": 1.0})})
    state = jax.jit(lambda given: initial_state(config, networks, jax.random.key(2), given))(given)
    # A critic with opinions: some scores lie beyond the hinge, and the adaptive weight stays below its bound.
    last = state.critic["conv_out"]
    critic = state.critic | {"conv_out": last | {"kernel": 10 * last["kernel"]}}
    return config, networks, frozen, state._replace(critic=critic)


def their_side(config, networks, frozen, state) -> "torch_reference.Trainer":
    """The same networks with the same weights."""
    model = diffusers.AsymmetricAutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        down_block_out_channels=CHANNELS,
        up_block_types=("UpDecoderBlock2D",) * 4,
        up_block_out_channels=CHANNELS,
        layers_per_up_block=1,
        norm_num_groups=config.model.norm_groups,
    )
    load(model, to_torch(networks.whole(frozen, state.decoder)))
    critic = torch_reference.PatchCritic(config.critic.channels, config.critic.layers, config.critic.norm_images)
    load(critic, named_critic(state.critic))
    heads = [torch.from_numpy(np.array(head)).double() for head in frozen["lpips"]["heads"]]
    optim, loss = config.optim, config.loss
    settings = torch_reference.Settings(
        steps=optim.steps,
        warmup_steps=optim.warmup_steps,
        learning_rate=optim.learning_rate,
        final_learning_rate=optim.final_learning_rate,
        critic_start=loss.critic_start,
        adversarial_start=loss.adversarial_start,
        ema_decay=optim.ema_decay,
    )
    return torch_reference.Trainer(model.double(), critic.double(), torch_vgg().double(), heads, settings)


def load(module, tensors: dict) -> None:
    """Fills all parameters of a PyTorch module; buffers stay as they are."""
    assert tensors.keys() == dict(module.named_parameters()).keys()
    module.load_state_dict(module.state_dict() | {name: torch.from_numpy(tensor.copy()) for name, tensor in tensors.items()})


def named_critic(params) -> dict:
    """Our critic under the names of the PyTorch one."""
    tensors = {}
    for layer, leaves in jax.device_get(params).items():
        stem, _, number = layer.rpartition("_")
        place = f"{stem}.{number}" if number.isdecimal() else layer
        for leaf, array in leaves.items():
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
            tensors[f"{place}.{'bias' if leaf == 'bias' else 'weight'}"] = array
    return tensors


def named(state) -> dict[str, dict]:
    """The parameters that an update changes, part by part, as PyTorch names and shapes them."""
    return {"decoder": to_torch(state.decoder), "average": to_torch(state.average), "critic": named_critic(state.critic)}


@functools.partial(jax.jit, static_argnums=0)
def draw(networks, n):
    """Noise and masks of step `n`."""
    noise_key, mask_key = jax.random.split(jax.random.fold_in(ROOT_KEY, n))
    noise = jax.random.normal(noise_key, (BATCH, SIDE // 8, SIDE // 8, 4))
    return noise, networks.draw_masks(mask_key, jnp.zeros((BATCH, SIDE, SIDE, 3)))


def double(array) -> "torch.Tensor":
    return torch.from_numpy(np.array(array, np.float64).transpose(0, 3, 1, 2).copy())


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Scalars of every update and parameters after all of them, ours and theirs."""
    torch.set_num_threads(1)
    config, networks, frozen, state = our_side(save_vae(tmp_path_factory.mktemp("vae") / "vae", CHANNELS))
    theirs = their_side(config, networks, frozen, state)
    start, scalars, holes = named(state), [], []
    update = jax.jit(functools.partial(train_step, networks, config.loss, config.optim.ema_decay), static_argnames="critic_awake")
    for n in range(UPDATES):
        pixels = np.random.default_rng(n).integers(0, 256, (BATCH, SIDE, SIDE, 3), np.uint8)
        state, metrics = update(frozen, ROOT_KEY, state, jnp.asarray(pixels), critic_awake=n >= config.loss.critic_start)
        noise, mask = draw(networks, n)
        scalars.append((jax.device_get(metrics), theirs.step(n, double(pixels / 127.5 - 1), double(noise), double(mask))))
        holes += np.mean(mask, axis=(1, 2, 3)).tolist()
    decoder = {name: value.detach().numpy() for name, value in theirs.model.decoder.named_parameters()}
    average = {name: value.numpy() for name, value in theirs.average.items()}
    critic = {name: value.detach().numpy() for name, value in theirs.critic.named_parameters()}
    expected = {"decoder": decoder, "average": average, "critic": critic}
    return SimpleNamespace(scalars=scalars, start=start, end=named(state), expected=expected, holes=holes)


@pytest.mark.parametrize("n", range(UPDATES))
def test_losses_logits_and_the_adaptive_weight(both, n):
    ours, theirs = both.scalars[n]
    always = {"loss/pixel", "loss/perceptual", "loss/total", "norm/gradient", "norm/critic_gradient"}
    critic = {"loss/adversarial", "loss/critic", "logits/real", "logits/fake", "adaptive_weight"}
    assert theirs.keys() == always | critic
    compared = always | critic if n else always  # the critic sleeps in the first
    assert theirs.keys() & ours.keys() == compared
    for name in compared:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=SCALARS, err_msg=name)


@pytest.mark.parametrize("part", ["decoder", "average", "critic"])
def test_what_the_updates_changed(both, part):
    ours, theirs, start = both.end[part], both.expected[part], both.start[part]
    assert ours.keys() == theirs.keys()
    for name in theirs.keys() - {WITHOUT_EFFECT}:
        change, error = np.linalg.norm(theirs[name] - start[name]), np.linalg.norm(ours[name] - theirs[name])
        assert change > 0, name
        assert error < CHANGES * change + ROUNDING * np.linalg.norm(theirs[name]), name


def test_the_updates_are_no_special_case(both):
    assert 0 < both.holes.count(1.0) < len(both.holes)
    assert all(theirs["adaptive_weight"] < 0.8 * 1e4 for _, theirs in both.scalars)

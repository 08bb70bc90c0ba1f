"""A step that stopped a run is taken again, and the first bad tensor is named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from asym_jax import checkpoint
from asym_jax.config import LossConfig, TrainConfig
from asym_jax.errors import Diverged, InputError
from asym_jax.training import replay
from asym_jax.training.loop import run
from asym_jax.training.networks import build, initial_state
from asym_jax.training.probes import ProbedParts, Probes
from tests.training.test_step import PIXELS, OneWeight, start
from tests.training.tiny import save_vae, tiny_config


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    return save_vae(tmp_path_factory.mktemp("vae") / "vae", (8,))


@pytest.fixture(scope="module")
def healthy(vae):
    config = tiny_config(vae, (8,), data={"batch_size": 2})
    networks, frozen, given = build(config)
    state = jax.jit(lambda given: initial_state(config, networks, jax.random.key(0), given))(given)
    pixels = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8))
    return config, networks, frozen, state, pixels


def changed(tree: dict, path: str, change) -> dict:
    """`tree` with one leaf changed."""
    first, _, rest = path.partition("/")
    return tree | {first: changed(tree[first], rest, change) if rest else change(tree[first])}


def report(config, networks, frozen, state, pixels, *, awake: bool = True) -> tuple[list[str], str]:
    """The tensors of the state that are not finite, and the line on the first bad tensor with what follows."""
    again = replay.replay(networks, config, frozen, state, pixels, critic_awake=awake)
    return replay.describe_state(state), "\n".join(replay.describe(again))


def test_a_nan_in_a_parameter(healthy):
    config, networks, frozen, state, pixels = healthy
    place = "mid_block/resnets_1/conv2/kernel"
    planted = changed(state.decoder, place, lambda kernel: kernel.at[0, 0, 0, 0].set(jnp.nan))
    before, said = report(config, networks, frozen, state._replace(decoder=planted), pixels, awake=False)
    assert len(before) == 1 and f"1 of 576 values of decoder/{place}" in before[0]
    assert "computing: decoder/mid_block/resnets_1/conv2\n  in all 2 pictures" in said
    assert "loss/total = nan" in said and "loss/pixel from nan (picture 0)" in said


def test_an_exploding_critic(healthy):
    config, networks, frozen, state, pixels = healthy
    planted = changed(state.critic, "norms_0/scale", lambda scale: scale * 3e38)
    before, said = report(config, networks, frozen, state._replace(critic=planted), pixels)
    assert before == ["  before the step, every parameter and both optimisers are finite"]
    assert "computing: critic on originals: norms_0\n" in said
    assert "loss/critic = nan" in said and "loss/pixel from 0." in said


def toy(k: float) -> str:
    """The report on the one-weight networks of `test_step`, whose second weight is `k`."""
    loss = LossConfig(perceptual=0, adversarial=0.5, critic_start=0, adversarial_start=0)
    return report(TrainConfig(loss=loss), OneWeight(), {}, start(k=k), PIXELS)[1]


def test_a_sum_that_overflows():
    """A weight of 1e25 is a number, and so is every gradient; the square of a norm is none."""
    assert "is finite; what overflows is a sum over them: norm/" in toy(k=1e25)


def test_a_fault_that_does_not_repeat():
    said = toy(k=1.5)
    # r = 3 where x = 1, in all eight pictures alike; the critic says 1/4 and 3/4.
    assert "the fault does not repeat on this machine" in said
    assert "    loss/pixel from 2 (picture 0) to 2 (picture 0)" in said
    assert "    logits of reconstructions from 0.75 (picture 0) to 0.75 (picture 0)" in said


class Root(nn.Module):
    """Finite everywhere, with an infinite slope at 0."""

    @nn.compact
    def __call__(self, x):
        return jnp.sqrt(nn.Dense(1, use_bias=False, name="dense")(x))


class Modular(OneWeight):
    def features(self, decoder, latents, image, mask):
        return Twice().apply({"params": {"root": {"dense": decoder["w"]}}}, latents)


class Twice(nn.Module):
    def setup(self):
        self.root = Root()

    def __call__(self, x):
        return self.root(x).repeat(3, -1)


def test_a_gradient_that_breaks_inside_a_module_and_the_picture_it_belongs_to():
    probes = Probes()
    parts = ProbedParts(Modular(), probes, "l1")
    latents = jnp.ones((4, 2, 2, 3)).at[2].set(0)

    def total(decoder):
        return parts.features(decoder, latents, latents, latents[..., :1]).sum()

    gradient = jax.jit(jax.grad(total))({"w": {"kernel": jnp.ones((3, 1))}})
    assert not np.isfinite(gradient["w"]["kernel"]).all()
    first = probes.first
    # sqrt'(0) is infinite: what arrives at `root` is finite, what arrives at `dense` inside it is not.
    assert first.place == "the gradient that arrives at root/dense"
    assert first.bad.tolist() == [False, False, True, False]


@pytest.mark.slow
def test_a_run_that_stopped_is_replayed_from_the_state_before(vae, tmp_path, capsys):
    optim = {"learning_rate": 1e17, "skip_limit": 2}
    config = tiny_config(vae, (8,), loss={"adversarial": 0}, optim=optim, checkpoint={"every": 1})
    with pytest.raises(Diverged, match=r"^step 4: .* 3 steps in a row\. `python -m asym_jax.training.replay .*step_00000004`"):
        run(config, tmp_path)
    said = capsys.readouterr().out
    assert [line.split(" is")[0] for line in said.splitlines() if "skipped" in line] == ["step 2", "step 3"]

    def load(folder):
        networks, _, given = build(config)
        with checkpoint.open_folder(folder, checkpoint.Keep(2)) as saved:
            state = jax.eval_shape(lambda given: initial_state(config, networks, jax.random.key(0), given), given)
            here = jax.tree.map(lambda _: jax.sharding.SingleDeviceSharding(jax.devices()[0]), state)
            return saved.newest, saved.load(saved.newest, checkpoint.abstract_like(state, here)._asdict())

    place = tmp_path / "diagnosis" / "step_00000004"
    (newest, kept), (before, dumped) = load(tmp_path / "checkpoints"), load(place / "state")
    assert (newest, before) == (3, 3)
    jax.tree.map(np.testing.assert_array_equal, dumped, kept)

    replay.main([str(place)])
    said = capsys.readouterr().out
    assert f"step 4 of {place}:" in said and "not finite first" in said and "decoder/" in said


def test_what_is_no_diagnosis_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is no diagnosis of a run: it holds no batch_0.npz"):
        replay.main([str(tmp_path)])

"""What a step says about itself, and what becomes of steps that are not finite."""

import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.config import LossConfig, OptimConfig, TrainConfig
from asym_jax.errors import Diverged
from asym_jax.training import diagnosis
from asym_jax.training.optim import group_names
from asym_jax.training.step import adversarial_share
from asym_jax.training.workdir import Workdir
from tests.training.test_step import start, update

ALWAYS = LossConfig(perceptual=0, adversarial=0.5, critic_start=0, adversarial_start=0)


def test_norms_of_every_group_by_hand():
    """The one-weight networks of `test_step`: r = w k x = 3 with x = 1; d nll/dr = 12 in total."""
    state, metrics = update(ALWAYS, start())
    # d nll/dk = 12 w = 24 and d g/dk = -w/4 = -1/2, so lambda = 0.5 * 24 / 0.5001; felt in full.
    weight = 0.5 * 24 / 0.5001
    pull = 12 - weight / 4
    expected = {
        "norm/last_layer/reconstruction": 24,
        "norm/last_layer/adversarial": 0.5,
        "norm/gradient/w": abs(1.5 * pull),
        "norm/gradient/conv_out": abs(2 * pull),
        "norm/gradient": abs(pull) * np.hypot(1.5, 2),
        "norm/update/w": abs(1.5 * pull),  # SGD with a rate of 1
        "norm/update/conv_out": abs(2 * pull),
        "norm/parameters/w": abs(2 - 1.5 * pull),
        "norm/parameters/conv_out": abs(1.5 - 2 * pull),
        "norm/critic_gradient": 1,
        "norm/update/critic": 1,
        "norm/parameters/critic": 0.75,
        "adaptive_weight": weight,
        "adversarial_weight": weight,
        "adversarial_share": 1,
        # Scores 1/4 for real and 3/4 for decoded pictures: right about the first, wrong about the second.
        "accuracy/real": 1,
        "accuracy/fake": 0,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)


def test_a_critic_that_sleeps_has_no_opinion():
    _, metrics = update(ALWAYS, start(), awake=False)
    assert not metrics.keys() & {"accuracy/real", "adversarial_share", "norm/last_layer/adversarial"}


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["^(condition_encoder|conv_norm_out)", ".*"], ["condition_encoder_conv_norm_out", "rest"]),
        (["a.b", "a_b", "critic"], ["a_b", "a_b_2", "critic_3"]),
    ],
)
def test_groups_get_names_that_tensorboard_accepts(patterns, names):
    assert list(group_names([(pattern, 1.0) for pattern in patterns]).values()) == names


def test_the_adversarial_weight_rises_over_the_ramp():
    ramp = LossConfig(critic_start=2, adversarial_start=5, adversarial_ramp=4)
    steps = (4, 5, 6, 8, 9, 20)
    assert [float(adversarial_share(ramp, jnp.int32(step))) for step in steps] == [0, 0, 0.25, 0.75, 1, 1]
    at_once = ramp.model_copy(update={"adversarial_ramp": 0})
    assert [float(adversarial_share(at_once, jnp.int32(step))) for step in steps] == [0, 1, 1, 1, 1, 1]


def test_the_decoder_feels_the_share_of_the_ramp():
    loss = LossConfig(perceptual=0, adversarial=0.5, critic_start=0, adversarial_start=0, adversarial_ramp=4)
    state, metrics = update(loss, start(step=1))
    felt = 0.25 * 0.5 * 24 / 0.5001
    np.testing.assert_allclose(metrics["adversarial_weight"], felt, rtol=1e-5)
    np.testing.assert_allclose(metrics["adversarial_share"], 0.25)
    np.testing.assert_allclose(state.decoder["w"], 2 - 1.5 * (12 - felt / 4), rtol=1e-5)


def watched(monkeypatch, folder, limit: int, finite: str) -> tuple[list[str], tuple | None]:
    """Lines of a run whose step k is finite where `finite` has a `.` at k-1, and what was saved: the step, and the last started."""
    saved, lines, config = [], [], TrainConfig(optim=OptimConfig(skip_limit=limit))
    monkeypatch.setattr(
        diagnosis, "save_diagnosis", lambda place, config, step, values, state: saved.append((step.done, int(state.step)))
    )
    watch = diagnosis.Watch(config, Workdir(folder), lines.append)
    try:
        for done, mark in enumerate(finite, start=1):
            metrics = {"finite": jnp.float32(mark == "."), "loss/total": jnp.nan, "norm/gradient": jnp.inf, "skipped_steps": 7.0}
            state = start(step=done)
            watch(state, done, metrics, None)
        watch.settle(state)
    except Diverged as error:
        lines.append(str(error))
    return lines, saved[0] if saved else None


@pytest.mark.parametrize(
    ("limit", "finite", "stopped"),
    [
        (2, ".!!.!.!!.", None),
        (2, ".!!.!!!..", 7),
        (2, "!!!", 3),
        (0, "..!..", 3),
        (1, "!.!.!!..", 6),
        (3, "!!!", None),
    ],
)
def test_only_too_many_bad_steps_in_a_row_stop_a_run(monkeypatch, tmp_path, limit, finite, stopped):
    lines, saved = watched(monkeypatch, tmp_path, limit, finite)
    # The state that is saved is the one right after the bad step: no good update has changed it since.
    assert saved == (stopped and (stopped, stopped))
    passed = finite[:stopped].count("!") - bool(stopped)
    assert len(lines) == passed + bool(stopped)
    assert all("is skipped, not finite: loss/total = nan, norm/gradient = inf" in line for line in lines[:passed])
    if stopped:
        assert lines[-1].startswith(f"step {stopped}: ") and f"{limit + 1} steps in a row" in lines[-1]


def test_the_step_that_was_just_started_is_not_waited_for(tmp_path):
    """On a device, programs wait in line: one more for the step before would be behind the one just started."""
    events = []

    class Finite:
        """In the place of an array: it can be copied to the host, and nothing else."""

        def __init__(self, done):
            self.done = done

        def copy_to_host_async(self):
            events.append(("copied", self.done))

        def __float__(self):
            events.append(("read", self.done))
            return 1.0

        def __eq__(self, other):
            raise AssertionError("a comparison is a program")

        __hash__ = None

    watch = diagnosis.Watch(TrainConfig(), Workdir(tmp_path), print)
    for done in (1, 2, 3):
        watch(start(step=done), done, {"finite": Finite(done)}, None)
    assert events == [("copied", 1), ("read", 1), ("copied", 2), ("read", 2), ("copied", 3)]


def test_a_line_says_how_many_were_skipped(monkeypatch, tmp_path):
    lines, _ = watched(monkeypatch, tmp_path, 2, ".!.")
    assert lines[0].startswith("step 2 is skipped") and lines[0].endswith("(1 in a row of at most 2, 7 skipped so far)")

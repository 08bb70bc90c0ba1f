"""The regular measurement on held-out pictures: with the picture to copy from and without, and nothing decoded twice."""

import io
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from asym_jax.data.sources import open_source, split
from asym_jax.training import held_out as module
from asym_jax.training import judge as judge_module
from asym_jax.training.held_out import HeldOut
from asym_jax.training.judge import Judge
from asym_jax.training.log import Log
from asym_jax.training.networks import build, initial_state
from asym_jax.training.sharding import make_mesh
from asym_jax.training.workdir import Workdir
from asym_jax.weights.networks import LpipsWeights
from tests.training.tiny import save_vae, tiny_config

COUNT, BATCH = 11, 8


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    config = tiny_config(save_vae(tmp_path_factory.mktemp("vae") / "vae", (8,)), (8,), data={"batch_size": BATCH})
    networks, frozen, first = build(config)
    state = jax.jit(lambda first: initial_state(config, networks, jax.random.key(0), first))(first)
    _, pictures = split(open_source("synthetic"), COUNT)
    return SimpleNamespace(config=config, networks=networks, frozen=frozen, state=state, source=pictures)


def held_out(given, **changes) -> HeldOut:
    shape = {"recipe": "thick_256", "image_size": 16, "batch_size": BATCH, "rows": 3}
    return HeldOut(given.networks, given.source, make_mesh(BATCH), **shape, **changes)


def test_scores_of_three_ways_to_decode(given, monkeypatch):
    # LPIPS itself has tests of its own; here it is a distance with one weight.
    monkeypatch.setattr(module, "lpips", lambda vgg, heads, a, b: vgg * jnp.abs(a - b).max((1, 2, 3)))
    judged = held_out(given, perceptual=LpipsWeights(jnp.float32(3), (), True))
    # The first decoder is the plain one; another shows which is which.
    decoder = jax.tree.map(lambda leaf: leaf * 1.1, given.state.decoder)
    scores = judged.measure(given.frozen, decoder)
    image = jnp.asarray(judged.pixels / 127.5 - 1, jnp.float32)

    @jax.jit
    def decode(image, mask):
        latents = given.networks.vae.apply({"params": given.frozen["vae"]}, image, method="encode").mean
        whole = {"params": given.networks.whole(given.frozen, decoder)}
        plain = given.networks.vae.apply({"params": given.frozen["vae"]}, latents, method="decode")
        masked = given.networks.model.apply(whole, latents, image=image, mask=mask, method="decode")
        return {"plain_": plain, "": masked, "unmasked_": given.networks.model.apply(whole, latents, method="decode")}

    kept = 1 - judged.masks
    for name, version in decode(image, judged.masks).items():
        version = np.clip(np.rint((np.asarray(version) + 1) * 127.5), 0, 255)
        error = (version - judged.pixels) / 127.5
        squares = np.square(error).mean((1, 2, 3))
        expected = {
            "l1": np.abs(error).mean(),
            "psnr": np.mean(10 * np.log10(4 / squares)),
            "pre_error": np.sum(np.square(error) * kept) / (3 * kept.sum()),
            "lpips": 3 * np.abs(error).max((1, 2, 3)).mean(),
        }
        for metric, value in expected.items():
            np.testing.assert_allclose(scores[f"held_out/{name}{metric}"], value, rtol=2e-3, err_msg=name + metric)
        assert -1 <= scores[f"held_out/{name}ssim"] <= 1
    assert len(scores) == 3 * 5
    assert len({scores[f"held_out/{name}l1"] for name in ("plain_", "", "unmasked_")}) == 3


def test_nothing_is_decoded_twice(given):
    judged = held_out(given)
    calls = {"plain": 0, "ours": 0}

    def counted(name, function):
        def call(*arguments):
            calls[name] += 1
            return function(*arguments)

        return call

    judged._measure_plain = counted("plain", judged._measure_plain)
    judged._measure_ours = counted("ours", judged._measure_ours)
    first = judged.measure(given.frozen, given.state.decoder)
    assert calls == {"plain": 2, "ours": 2}  # eleven pictures are two batches of eight
    sheet = judged.sheet()
    again = judged.measure(given.frozen, given.state.decoder)
    assert calls == {"plain": 2, "ours": 4}
    assert first == again and not any("lpips" in name for name in first)
    # Three rows of pictures, enlarged tenfold, under a header.
    assert sheet.height == 26 + 3 * 166
    better = jax.tree.map(lambda leaf: leaf * 1.1, given.state.decoder)
    other = judged.measure(given.frozen, better)
    assert other["held_out/plain_l1"] == first["held_out/plain_l1"] and other["held_out/l1"] != first["held_out/l1"]
    assert judged.sheet().tobytes() != sheet.tobytes()


def test_the_time_is_logged_and_what_is_missing_said(given, tmp_path, monkeypatch):
    monkeypatch.setenv("ASYM_JAX_WEIGHTS", str(tmp_path))
    said = io.StringIO()
    with Log(tmp_path / "metrics.jsonl", start=0, steps=1, console=Console(file=said, width=80, highlight=False)) as log:
        judge = Judge(given.config, given.networks, given.source, make_mesh(BATCH), Workdir(tmp_path), log)
        scores = judge(0, given.frozen, given.state)
    assert scores["evaluation_seconds"] > 0
    assert said.getvalue().count("held-out LPIPS is left out: ") == 1 and "fetch vgg16 lpips-vgg" in said.getvalue()
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["step_00000000.png"]


def test_lpips_is_measured_by_all_processes_or_by_none(tmp_path, monkeypatch):
    """Of two hosts one has no weights: two different programs would wait for each other for ever."""
    weights = LpipsWeights(jnp.float32(3), (), True)
    monkeypatch.setattr(judge_module, "load_lpips", lambda: weights)
    said = io.StringIO()
    with Log(tmp_path / "metrics.jsonl", start=0, steps=1, console=Console(file=said, width=80, highlight=False)) as log:
        assert judge_module._lpips_if_there(log) is weights
        monkeypatch.setattr(judge_module, "any_of", lambda here: True)
        assert judge_module._lpips_if_there(log) is None
    assert "held-out LPIPS is left out: another process cannot read its weights" in " ".join(said.getvalue().split())

"""What is compiled before the first step, and what is said of it."""

import contextlib
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from asym_jax.commands import load_preset
from asym_jax.training import compiled
from asym_jax.training.costs import Costs, costs_of
from asym_jax.training.program import Program
from asym_jax.training.sharding import batch_sharding, make_mesh
from asym_jax.training.silence import Silence
from asym_jax.training.state import TrainState
from benchmarks.abstract_run import networks_of, with_settings


class Notes(Silence):
    def __init__(self) -> None:
        self.notes = []

    def note(self, message: str) -> None:
        self.notes.append(message)


class Pretended:
    """In the place of a lowered program: compiles at once."""

    def __init__(self, awake: bool) -> None:
        self.awake = awake

    def compile(self) -> "Pretended":
        return self

    def __call__(self, *_: object) -> None:
        """Programs can be called."""


@pytest.fixture(scope="module")
def demo():
    config = load_preset("demo", Path(__file__).parents[2] / "configs")
    return config, networks_of(config)


@pytest.mark.parametrize(
    ("start", "critic_start", "expected"),
    [(0, 4, [False, True]), (3, 4, [False, True]), (4, 4, [True]), (0, 0, [True]), (0, 6, [False]), (5, 2, [True])],
)
def test_all_that_a_run_will_need_is_compiled_ahead(demo, monkeypatch, start, critic_start, expected):
    """6 steps; each of both programs once, if any step needs it."""
    preset, networks = demo
    late = {"critic_start": critic_start, "adversarial_start": critic_start}
    config = with_settings(preset, loss=late, optim={"steps": 6, "warmup_steps": 2})
    state = TrainState(jnp.int32(0), {}, {}, {}, (), ())
    log, lowered = Notes(), []
    monkeypatch.setattr(Program, "lower", lambda self, *_, critic_awake: lowered.append(critic_awake) or Pretended(critic_awake))
    monkeypatch.setattr("asym_jax.training.program.costs_of", lambda *_: "much")
    program = Program(config, networks, make_mesh(8), log)
    program.prepare(start, {}, state)
    assert lowered == expected
    assert log.notes == [f"compiled the step {'with' if awake else 'without'} critic in 0 s: much" for awake in expected]
    for n in range(start, config.optim.steps):
        assert program(n, {}, state).awake == (n >= critic_start)
    assert lowered == expected


def test_costs_by_hand():
    mesh = make_mesh(8)
    left = jax.ShapeDtypeStruct((64, 128), jnp.float32, sharding=batch_sharding(mesh))
    product = jax.jit(lambda a, b: a @ b, donate_argnums=0).lower(left, jnp.zeros((128, 128))).compile()
    costs = costs_of(product)
    assert costs.flops == 2 * 8 * 128 * 128  # 8 of 64 rows on each device
    assert costs.arguments == 4 * (8 * 128 + 128 * 128)
    assert costs.outputs == 0  # the result takes the place of the donated argument
    assert costs_of(product, 3).flops == 3 * costs.flops


def test_a_loop_is_counted_once():
    """Why `costs_of` is told how often it runs."""

    def work(a, rows):
        return jax.lax.scan(lambda total, row: (jnp.tanh(total @ a) + row, None), rows[0], rows)[0]

    flops = [costs_of(jax.jit(work).lower(jnp.zeros((64, 64)), jnp.zeros((count, 64, 64))).compile()).flops for count in (4, 8)]
    assert flops[0] == pytest.approx(flops[1], rel=0.01)


def test_costs_in_words():
    costs = Costs(flops=12.5e9, arguments=2**30, temporaries=2**29, outputs=2**28)
    assert str(costs) == "12.5 GFLOP and 1.75 GiB per device (arguments 1.00, temporaries 0.50, new outputs 0.25)"


@contextlib.contextmanager
def cache_folder():
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_enable_xla_caches")
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_compiled_programs_are_kept_at_home_unless_said_otherwise(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with cache_folder():
        jax.config.update("jax_compilation_cache_dir", None)
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/elsewhere")
        compiled.keep_on_disk()
        assert jax.config.jax_compilation_cache_dir is None  # JAX has read the variable when it was imported
        jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
        monkeypatch.setenv("JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES", "none")
        compiled.keep_on_disk()
        assert jax.config.jax_persistent_cache_enable_xla_caches == "none"
        monkeypatch.delenv("JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES")
        monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
        compiled.keep_on_disk()
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / ".cache" / "asym_jax" / "compiled")
        assert jax.config.jax_persistent_cache_enable_xla_caches == "xla_gpu_per_fusion_autotune_cache_dir"

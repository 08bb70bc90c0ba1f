"""The training run, from an empty folder to a decoder that loads anywhere; the one impure place."""

import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import UInt8

from asym_jax import checkpoint
from asym_jax.arrays import Params
from asym_jax.config import TrainConfig
from asym_jax.data.sources import Source, open_source, split
from asym_jax.data.stream import batches
from asym_jax.training.diagnosis import Watch
from asym_jax.training.judge import Judge
from asym_jax.training.log import Log, Pace
from asym_jax.training.networks import Networks, build, initial_state
from asym_jax.training.optim import critic_schedule, decoder_schedule
from asym_jax.training.sharding import batch_sharding, make_mesh, replicated, state_shardings
from asym_jax.training.state import TrainState
from asym_jax.training.step import train_step
from asym_jax.training.workdir import Workdir, open_workdir
from asym_jax.weights import save_pretrained


def run(config: TrainConfig, root: Path, *, fresh: bool = False) -> None:
    """Trains in the folder `root`, going on from its newest checkpoint if there is one.

    Raises:
        InputError: config, folder, pictures or weights are not usable; nothing was compiled yet.
        Diverged: a loss was not finite; what is needed to find out why was saved.
    """
    # 1. Everything that can be refused is refused here.
    mesh = make_mesh(config.data.batch_size)
    train_source, held_out_source = split(open_source(config.data.source), config.data.held_out)
    networks, frozen, given = build(config)
    workdir = open_workdir(root, config, fresh=fresh)

    with checkpoint.open_folder(workdir.checkpoints, keep=config.checkpoint.keep) as checkpoints:
        # 2. The state is born on its devices, or read straight onto them.
        state, start = _begin(config, networks, given, mesh, checkpoints)
        frozen = jax.device_put(frozen, replicated(mesh))
        if start == config.optim.steps:
            print(f"{workdir.root} is a finished run of {start} steps; --fresh starts over")
            return _export(networks, frozen, state, workdir)
        if held_out_source:
            workdir.held_out.write_text("".join(f"{held_out_source.name(i)}\n" for i in range(len(held_out_source))))

        # 3. One step after another.
        with Log(workdir.metrics, start=start, steps=config.optim.steps) as log:
            _announce(log, config, networks, state, workdir, start)
            judge = Judge(config, networks, held_out_source, mesh, workdir, log)
            if start == 0:
                judge(0, frozen, state)
            state = _advance(config, networks, frozen, state, start, mesh, train_source, workdir, log, checkpoints, judge)

            # 4. What remains of the run: a decoder in diffusers' layout.
            _export(networks, frozen, state, workdir)
            log.note(f"pictures: {workdir.samples}    decoder: {workdir.decoder}    numbers: {workdir.metrics}")


def _begin(
    config: TrainConfig, networks: Networks, given: Params | None, mesh: Mesh, checkpoints: checkpoint.Checkpoints
) -> tuple[TrainState, int]:
    """The state to go on from, and how many updates it has seen."""
    init = functools.partial(initial_state, config, networks, jax.random.key(config.seed))
    abstract = jax.eval_shape(init, given)
    places = state_shardings(abstract, mesh)
    if checkpoints.newest is None:
        return jax.jit(init, out_shardings=places)(given), 0
    items = checkpoints.load(checkpoints.newest, checkpoint.abstract_like(abstract, places)._asdict())
    return TrainState(**items), checkpoints.newest


def _advance(
    config: TrainConfig,
    networks: Networks,
    frozen: Params,
    state: TrainState,
    start: int,
    mesh: Mesh,
    source: Source,
    workdir: Workdir,
    log: Log,
    checkpoints: checkpoint.Checkpoints,
    judge: Judge,
) -> TrainState:
    """Runs every step from `start` on and returns the last state."""
    stream = _stream(config, source, start)
    place = batch_sharding(mesh)
    program = _Program(config, networks, mesh, log)
    watch = Watch(workdir, log)
    pace = Pace()
    for n in range(start, config.optim.steps):
        pixels = next(stream)
        spread = jax.make_array_from_process_local_data(place, pixels)
        with pace.paused():
            step = program(n, frozen, state, spread)
        state, metrics = step(frozen, state, spread)
        done = n + 1
        # The step before is looked at only now, so that the device never waits for the host.
        watch(state, done, metrics, pixels)
        pace.count(len(pixels) * jax.process_count())
        log.advance(done)
        if done % config.log.every == 0 or done == config.optim.steps:
            values = {name: float(value) for name, value in jax.device_get(metrics).items()}
            speed = pace.take()
            log.scalars(done, values | _rates(config, n) | {"images_per_second": speed, "data/skipped": len(source.skipped)})
            log.status(done, values["loss/pixel"], speed)
        if done % config.log.evaluate_every == 0 or done == config.optim.steps:
            with pace.paused():
                judge(done, frozen, state)
        if done % config.checkpoint.every == 0 or done == config.optim.steps:
            with pace.paused():
                watch.settle(state)
                checkpoints.save(done, state._asdict(), config.model_dump(mode="json"))
    return state


def _stream(config: TrainConfig, source: Source, start: int) -> Iterator[UInt8[np.ndarray, "b H W 3"]]:
    data = config.data
    return batches(
        source,
        batch_size=data.batch_size,
        image_size=data.image_size,
        crop_scale=data.crop_scale,
        seed=config.seed,
        threads=data.threads,
        start=start,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


class _Program:
    """The compiled update: one without a critic until it wakes, then one with it."""

    def __init__(self, config: TrainConfig, networks: Networks, mesh: Mesh, log: Log) -> None:
        self._config, self._networks, self._mesh, self._log = config, networks, mesh, log
        self._root_key = jax.random.key(config.seed)
        self._compiled: dict[bool, Callable] = {}

    def __call__(self, n: int, frozen: Params, state: TrainState, pixels: jax.Array) -> Callable:
        """The function (frozen, state, pixels) -> (state, metrics) of step `n`; it donates the state."""
        awake = self._networks.critic is not None and n >= self._config.loss.critic_start
        if awake not in self._compiled:
            begin = time.monotonic()
            self._compiled = {awake: self._jit(state, awake).lower(frozen, state, pixels).compile()}
            what = "with" if awake else "without"
            self._log.note(f"compiled the step {what} critic in {time.monotonic() - begin:.0f} s")
        return self._compiled[awake]

    def _jit(self, state: TrainState, awake: bool) -> Callable:
        everywhere, places = replicated(self._mesh), state_shardings(state, self._mesh)

        def update(frozen: Params, state: TrainState, pixels: jax.Array):
            config = self._config
            return train_step(
                self._networks, config.loss, config.optim.ema_decay, frozen, self._root_key, state, pixels, critic_awake=awake
            )

        return jax.jit(
            update,
            in_shardings=(everywhere, places, batch_sharding(self._mesh)),
            out_shardings=(places, everywhere),
            donate_argnums=1,
        )


def _rates(config: TrainConfig, n: int) -> dict[str, float]:
    """Learning rates of step `n`, by group."""
    rates = {f"learning_rate/{pattern}": float(decoder_schedule(config.optim, m)(n)) for pattern, m in config.optim.groups}
    if config.loss.adversarial:
        rates["learning_rate/critic"] = float(critic_schedule(config.optim, config.loss.critic_start)(n))
    return rates


def _announce(log: Log, config: TrainConfig, networks: Networks, state: TrainState, workdir: Workdir, start: int) -> None:
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.decoder))
    doing = f"going on from step {start}" if start else "starting"
    log.note(
        f"{workdir.root}: {doing}; decoder of {parameters:,} parameters, {config.data.batch_size} pictures of "
        f"{config.data.image_size} pixels per step on {jax.device_count()} {jax.devices()[0].platform} device(s)"
    )


def _export(networks: Networks, frozen: Params, state: TrainState, workdir: Workdir) -> None:
    """Writes the averaged decoder with its encoder in diffusers' layout."""
    save_pretrained(workdir.decoder, networks.model, jax.device_get(networks.whole(frozen, state.best_decoder)))

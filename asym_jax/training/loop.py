"""The training run, from an empty folder to a decoder that loads anywhere; the one impure place."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import UInt8

from asym_jax import checkpoint
from asym_jax.arrays import Params
from asym_jax.config import TrainConfig
from asym_jax.data.sources import Source, open_source, split
from asym_jax.data.stream import batches
from asym_jax.errors import CannotSave, InputError
from asym_jax.training.diagnosis import Watch
from asym_jax.training.durable import Attempts
from asym_jax.training.export import export
from asym_jax.training.interruption import Interruption
from asym_jax.training.judge import Judge
from asym_jax.training.lock import refuse_if_held
from asym_jax.training.log import Log, Pace, recorded
from asym_jax.training.networks import Networks, build, initial_state
from asym_jax.training.optim import critic_schedule, decoder_schedule
from asym_jax.training.program import Program
from asym_jax.training.saving import Saver
from asym_jax.training.sharding import batch_sharding, make_mesh, replicated, state_shardings
from asym_jax.training.state import TrainState
from asym_jax.training.workdir import Workdir, open_workdir


def run(config: TrainConfig, root: Path, *, fresh: bool = False) -> None:
    """Trains in the folder `root`, going on from its newest checkpoint if there is one.

    Raises:
        InputError: config, folder, pictures or weights are not usable; nothing was compiled yet.
        Diverged: a loss was not finite; what is needed to find out why was saved.
        CannotSave: no checkpoint could be written for `checkpoint.patience` minutes.
        Interrupted: SIGTERM or SIGINT; what could be lost was saved.
    """
    with Interruption() as interruption:
        _run(config, root, interruption, fresh=fresh)


def _run(config: TrainConfig, root: Path, interruption: Interruption, *, fresh: bool) -> None:
    # 1. Everything that can be refused is refused here.
    refuse_if_held(Workdir(root).lock)
    mesh = make_mesh(config.data.batch_size)
    source, held_out = split(open_source(config.data.source), config.data.held_out)
    source[0]  # raises if no picture at all can be read
    networks, frozen, given = build(config)
    keep = checkpoint.Keep(config.checkpoint.keep, config.checkpoint.keep_best, config.checkpoint.keep_every)

    with (
        open_workdir(root, config, fresh=fresh) as workdir,
        checkpoint.open_folder(workdir.checkpoints, keep) as checkpoints,
    ):
        # 2. The state is born on its devices, or read straight onto them.
        state, start, pending = interruption.attempt(_begin, config, networks, given, mesh, checkpoints)
        frozen = jax.device_put(frozen, replicated(mesh))
        if pending is not None and recorded(workdir.metrics, start):
            pending = None  # an earlier process has caught up already
        if start == config.optim.steps and pending is None:
            print(f"{workdir.root} is a finished run of {start} steps; --fresh starts over")
            return _export(config, networks, frozen, state, workdir)
        names = "".join(f"{held_out.name(i)}\n" for i in range(len(held_out)))
        Attempts(str(workdir.held_out))(lambda: workdir.held_out.write_text(names))

        # 3. One step after another.
        with Log(workdir.metrics, start=start, steps=config.optim.steps) as log:
            _announce(log, config, state, workdir, start)
            judge = Judge(config, networks, held_out, mesh, workdir, log)
            saver = Saver(config, checkpoints)
            session = _Session(config, networks, frozen, mesh, source, workdir, log, saver, judge, interruption)
            with interruption.held():
                if start == 0 or pending is not None:
                    _catch_up(session, state, start, pending or {})
                state = _advance(session, state, start)
            if interruption.stops_alone:
                raise interruption.stop(f"all {config.optim.steps} steps are done and saved, but not the decoder")

            # 4. What remains of the run: a decoder in diffusers' layout.
            _export(config, networks, frozen, state, workdir)
            log.note(f"pictures: {workdir.samples}    decoder: {workdir.decoder}    numbers: {workdir.metrics}")


class _Session(NamedTuple):
    """What stays the same from the first step to the last."""

    config: TrainConfig
    networks: Networks
    frozen: Params
    mesh: Mesh
    source: Source
    workdir: Workdir
    log: Log
    saver: Saver
    judge: Judge
    interruption: Interruption


def _begin(
    config: TrainConfig, networks: Networks, given: Params | None, mesh: Mesh, checkpoints: checkpoint.Checkpoints
) -> tuple[TrainState, int, dict[str, float] | None]:
    """The state to go on from, how many updates it has seen, and a record of the last that still waits for its evaluation."""
    init = functools.partial(initial_state, config, networks, jax.random.key(config.seed))
    abstract = jax.eval_shape(init, given)
    places = state_shardings(abstract, mesh)
    loaded = checkpoints.load_newest(checkpoint.abstract_like(abstract, places)._asdict())
    if loaded is None:
        return jax.jit(init, out_shardings=places)(given), 0, None
    return TrainState(**loaded.items), loaded.step, loaded.notes.get("pending")


def _catch_up(session: _Session, state: TrainState, start: int, pending: dict[str, float]) -> None:
    """The first evaluation, or the one that was given up when the run stopped."""
    scores = session.interruption.attempt(session.judge, start, session.frozen, state)
    if scores is None:
        _stop(session, start, state)
    best = session.config.checkpoint.keep_best
    if best and best not in scores:
        raise InputError(f"checkpoint.keep_best={best!r} is not measured; there are {', '.join(sorted(scores))}")
    session.log.scalars(start, pending | scores)


def _advance(session: _Session, state: TrainState, start: int) -> TrainState:
    """Runs every step from `start` on and returns the last state; it is saved."""
    config, log, frozen, interruption = session.config, session.log, session.frozen, session.interruption
    stream = _stream(config, session.source, start)
    place = batch_sharding(session.mesh)
    program = Program(config, session.networks, session.mesh, log)
    watch = Watch(session.workdir)
    pace = Pace()
    for n in range(start, config.optim.steps):
        if interruption.requested(n):
            watch.settle(state)
            _stop(session, n, state)
        pixels = next(stream)
        spread = jax.make_array_from_process_local_data(place, pixels)
        with pace.paused():
            step = interruption.attempt(program, n, frozen, state, spread)
        if step is None:
            watch.settle(state)
            _stop(session, n, state)
        state, metrics = step(frozen, state, spread)
        done = n + 1
        # The step before is looked at only now, so that the device never waits for the host.
        watch(state, done, metrics, pixels)
        pace.count(len(pixels) * jax.process_count())
        log.advance(done)

        def due(every: int, done: int = done) -> bool:
            return done % every == 0 or done == config.optim.steps

        record: dict[str, float] = {}
        if due(config.log.every):
            record |= {name: float(value) for name, value in jax.device_get(metrics).items()} | _rates(config, n)
            record |= {"images_per_second": pace.take(), "data/skipped": len(session.source.skipped)}
            log.status(done, record["loss/pixel"], record["images_per_second"], config.data.batch_size)
        with pace.paused():
            if due(config.log.evaluate_every):
                scores = interruption.attempt(session.judge, done, frozen, state)
                if scores is None:
                    watch.settle(state)
                    _stop(session, done, state, pending=record)
                record |= scores
            log.scalars(done, record)
            session.saver.look()
            if session.saver.due(done):
                watch.settle(state)
                session.saver.save(done, state, record)
    session.saver.finish(config.optim.steps, state, impatient=lambda: interruption.stops_alone)
    return state


def _stop(session: _Session, done: int, state: TrainState, pending: dict[str, float] | None = None) -> NoReturn:
    """Saves the state after `done` updates, if there is anything to save, and raises Interrupted."""
    if done:
        session.saver.finish(done, state, pending, impatient=lambda: True)
    raise session.interruption.stop(f"stopped after step {done}, which is saved" if done else "stopped before the first step")


def _export(config: TrainConfig, networks: Networks, frozen: Params, state: TrainState, workdir: Workdir) -> None:
    try:
        export(config, networks, frozen, state, workdir)
    except OSError as error:
        raise CannotSave(
            f"{workdir.decoder} cannot be written ({error.strerror or error}). All steps are done and saved: mend that; the same "
            "command writes the decoder."
        ) from error


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


def _rates(config: TrainConfig, n: int) -> dict[str, float]:
    """Learning rates of step `n`, by group."""
    rates = {f"learning_rate/{pattern}": float(decoder_schedule(config.optim, m)(n)) for pattern, m in config.optim.groups}
    if config.loss.adversarial:
        rates["learning_rate/critic"] = float(critic_schedule(config.optim, config.loss.critic_start)(n))
    return rates


def _announce(log: Log, config: TrainConfig, state: TrainState, workdir: Workdir, start: int) -> None:
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.decoder))
    doing = f"going on from step {start}" if start else "starting"
    log.note(
        f"{workdir.root}: {doing}; decoder of {parameters:,} parameters, {config.data.batch_size} pictures of "
        f"{config.data.image_size} pixels per step on {jax.device_count()} {jax.devices()[0].platform} device(s)"
    )

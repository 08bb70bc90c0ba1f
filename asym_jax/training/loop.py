"""The training run, from an empty folder to a decoder that loads anywhere; the one impure place."""

from pathlib import Path
from typing import NamedTuple, NoReturn

import jax
from jax.sharding import Mesh

from asym_jax import checkpoint
from asym_jax.arrays import Params
from asym_jax.checkpoint.agreement import of_first
from asym_jax.config import TrainConfig
from asym_jax.data.batches import Batches
from asym_jax.data.latent_cache import CachedSource, PickCachedCrop
from asym_jax.data.sources import Source, open_source, split
from asym_jax.data.stream import batches
from asym_jax.errors import InputError, OutOfPictures
from asym_jax.training import hosts
from asym_jax.training.birth import begin, plan
from asym_jax.training.diagnosis import Watch
from asym_jax.training.durable import Attempts
from asym_jax.training.export import export
from asym_jax.training.inputs import identify
from asym_jax.training.interruption import Interruption
from asym_jax.training.judge import Judge
from asym_jax.training.latents import with_cached_latents
from asym_jax.training.lock import refuse_if_held
from asym_jax.training.log import Log, Pace, recorded
from asym_jax.training.networks import Networks, build
from asym_jax.training.optim import critic_schedule, decoder_schedule, group_names
from asym_jax.training.profile import Profile, require_possible
from asym_jax.training.program import Program
from asym_jax.training.saving import Saver
from asym_jax.training.sharding import FROZEN, batch_sharding, make_mesh, placement_table
from asym_jax.training.silence import Silence
from asym_jax.training.state import TrainState
from asym_jax.training.waiting import Waiting
from asym_jax.training.workdir import Workdir, open_workdir


def run(
    config: TrainConfig, root: Path, *, fresh: bool = False, profile: range | None = None, pictures: Source | None = None
) -> None:
    """Trains in the folder `root`, going on from its newest checkpoint if there is one.

    Args:
        fresh: delete what an earlier run wrote there, and start over.
        profile: updates to trace.
        pictures: take the place of `config.data.source`.

    Raises:
        InputError: config, folder, pictures or weights are not usable; nothing was compiled yet.
        Diverged: a loss was not finite; what is needed to find out why was saved.
        CannotSave: no checkpoint could be written for `checkpoint.patience` minutes.
        OutOfPictures: no more pictures could be read after some steps; with one process these are saved.
        Interrupted: SIGTERM or SIGINT; what could be lost was saved.
    """
    with Interruption() as interruption:
        _run(config, root, interruption, fresh=fresh, profile=profile, pictures=pictures)


def _run(
    config: TrainConfig, root: Path, interruption: Interruption, *, fresh: bool, profile: range | None, pictures: Source | None
) -> None:
    # 1. Everything that can be refused is refused here, on one process for all of them.
    with hosts.agreed():
        refuse_if_held(Workdir(root).lock)
        mesh = make_mesh(config.data.batch_size, accumulate=config.optim.accumulate, fsdp=config.sharding.fsdp)
        source, held_out = split(open_source(config.data.source) if pictures is None else pictures, config.data.held_out)
        require_possible(profile, config.optim.steps)
        source[0]  # raises if no picture at all can be read
        networks, frozen, given = build(config)
        blueprint = plan(config, networks, frozen, given, mesh)
        keep = checkpoint.Keep(config.checkpoint.keep, config.checkpoint.keep_best, config.checkpoint.keep_every)
    with hosts.agreed():
        if hosts.is_first():
            claimed = open_workdir(root, config, identify(source, held_out, config.model.dtype, frozen), fresh=fresh)
        else:
            claimed = Workdir(root)
    with hosts.agreed():
        hosts.require_shared(claimed.config)

    with claimed as workdir, checkpoint.open_folder(workdir.checkpoints, keep) as checkpoints:
        # 2. The state is born on its devices, or read straight onto them.
        state, start, pending = interruption.attempt(begin, blueprint, given, checkpoints)
        frozen = hosts.spread(frozen, blueprint.frozen_places)
        if pending is not None and of_first(lambda: recorded(workdir.metrics, start)):
            pending = None  # an earlier process has caught up already
        if start == config.optim.steps and pending is None:
            if hosts.is_first():
                print(f"{workdir.root} is a finished run of {start} steps; --fresh starts over")
            return export(config, networks, frozen, state, workdir, mesh)
        _list_held_out(workdir, held_out)

        # 3. One step after another.
        with (
            Log(workdir.metrics, start=start, steps=config.optim.steps) if hosts.is_first() else Silence() as log,
            Profile(profile, workdir.profile, start, log.note) as profiler,
        ):
            _announce(log, config, state, workdir, start)
            log.note(placement_table(state._asdict() | {FROZEN: frozen}))
            judge = Judge(config, networks, held_out, mesh, workdir, log)
            if config.data.latent_cache:
                source = with_cached_latents(config, networks, frozen, source, workdir.latents, log.note)
            saver = Saver(config, checkpoints)
            session = _Session(config, networks, frozen, mesh, source, workdir, log, saver, judge, profiler, interruption)
            with interruption.held():
                if start == 0 or pending is not None:
                    _catch_up(session, state, start, pending or {})
                with _stream(config, source, start) as stream:
                    state = _advance(session, state, start, stream)
            if interruption.stops_alone:
                raise interruption.stop(f"all {config.optim.steps} steps are done and saved, but not the decoder")

            # 4. What remains of the run: a decoder in diffusers' layout.
            export(config, networks, frozen, state, workdir, mesh)
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
    profile: Profile
    interruption: Interruption


def _catch_up(session: _Session, state: TrainState, start: int, pending: dict[str, float]) -> None:
    """The first evaluation, or the one that was given up when the run stopped."""
    scores = session.interruption.attempt(session.judge, start, session.frozen, state)
    if scores is None:
        _stop(session, start, state)
    best = session.config.checkpoint.keep_best
    if best and best not in scores:
        raise InputError(f"checkpoint.keep_best={best!r} is not measured; there are {', '.join(sorted(scores))}")
    session.log.scalars(start, pending | scores)


def _advance(session: _Session, state: TrainState, start: int, stream: Batches) -> TrainState:
    """Runs every step from `start` on and returns the last state; it is saved."""
    config, log, frozen, interruption = session.config, session.log, session.frozen, session.interruption
    place = batch_sharding(session.mesh)
    program = Program(config, session.networks, session.mesh, log)
    interruption.attempt(program.prepare, start, frozen, state)
    watch = Watch(config, session.workdir, log.note)
    pace = Pace()
    waiting = Waiting(stream, config.data, log)
    metrics = None
    for n in range(start, config.optim.steps):
        if interruption.requested(n):
            watch.settle(state)
            _stop(session, n, state)
        try:
            batch = waiting.next(metrics)
        except InputError as error:
            if n == start:
                raise
            watch.settle(state)
            _end_without_pictures(session, n, state, error)
        spread = jax.tree.map(lambda share: jax.make_array_from_process_local_data(place, share), batch)
        with session.profile.step(n):
            state, metrics = program(n, frozen, state)(frozen, state, spread)
        done = n + 1
        # The step before is looked at only now, so that the device never waits for the host.
        watch(state, done, metrics, batch)
        pace.count(config.data.batch_size)
        log.advance(done)

        def due(every: int, done: int = done) -> bool:
            return done % every == 0 or done == config.optim.steps

        record: dict[str, float] = {}
        if due(config.log.every):
            record |= {name: float(value) for name, value in jax.device_get(metrics).items()} | _rates(config, n)
            record["data/waiting"] = waiting.take(pace.elapsed())
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
    session.saver.finish(config.optim.steps, state, impatient=lambda: interruption.signal is not None)
    return state


def _stop(session: _Session, done: int, state: TrainState, pending: dict[str, float] | None = None) -> NoReturn:
    """Saves the state after `done` updates, if there is anything to save, and raises Interrupted."""
    if done:
        session.saver.finish(done, state, pending, impatient=lambda: True)
    raise session.interruption.stop(f"stopped after step {done}, which is saved" if done else "stopped before the first step")


def _end_without_pictures(session: _Session, done: int, state: TrainState, error: InputError) -> NoReturn:
    """Saves the state after `done` updates, unless other processes do not know of it, and raises OutOfPictures."""
    if jax.process_count() > 1:
        raise OutOfPictures(f"after step {done}: {error}. The same command goes on from the newest checkpoint.") from error
    session.saver.finish(done, state, impatient=lambda: True)
    raise OutOfPictures(f"after step {done}, which is saved: {error}. Mend that; the same command goes on from there.") from error


def _stream(config: TrainConfig, source: Source, start: int) -> Batches:
    data = config.data
    return batches(
        source,
        batch_size=data.batch_size,
        image_size=data.image_size,
        crop_scale=data.crop_scale,
        seed=config.seed,
        threads=data.threads,
        workers=data.workers,
        start=start,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        crop=PickCachedCrop(source.cache) if isinstance(source, CachedSource) else None,
    )


def _rates(config: TrainConfig, n: int) -> dict[str, float]:
    """Learning rates of step `n`, by group."""
    names = group_names(config.optim.groups)
    rates = {f"learning_rate/{names[p]}": float(decoder_schedule(config.optim, m)(n)) for p, m in config.optim.groups}
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


def _list_held_out(workdir: Workdir, held_out: Source) -> None:
    if hosts.is_first():
        names = "".join(f"{held_out.name(i)}\n" for i in range(len(held_out)))
        Attempts(str(workdir.held_out))(lambda: workdir.held_out.write_text(names))

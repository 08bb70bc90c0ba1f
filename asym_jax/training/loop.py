"""The training run, from an empty folder to a decoder that loads anywhere; the one impure place."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from asym_jax import checkpoint
from asym_jax.arrays import Params
from asym_jax.config import TrainConfig
from asym_jax.data.batches import Batches
from asym_jax.data.latent_cache import CachedSource, PickCachedCrop
from asym_jax.data.sources import Source, open_source, split
from asym_jax.data.stream import batches
from asym_jax.training import hosts
from asym_jax.training.diagnosis import Watch
from asym_jax.training.export import export
from asym_jax.training.judge import Judge
from asym_jax.training.latents import with_cached_latents
from asym_jax.training.log import Log, Pace
from asym_jax.training.networks import Networks, build, initial_state
from asym_jax.training.optim import critic_schedule, decoder_schedule, group_names
from asym_jax.training.profile import Profile, require_possible
from asym_jax.training.program import Program
from asym_jax.training.sharding import FROZEN, batch_sharding, make_mesh, placement_table, state_shardings
from asym_jax.training.silence import Silence
from asym_jax.training.state import TrainState
from asym_jax.training.waiting import Waiting
from asym_jax.training.workdir import Workdir, open_workdir


def run(
    config: TrainConfig, root: Path, *, fresh: bool = False, profile: range | None = None, pictures: Source | None = None
) -> None:
    """Trains in the folder `root`, going on from its newest checkpoint if there is one; `profile` are updates to trace.

    `pictures` take the place of `config.data.source`.

    Raises:
        InputError: config, folder, pictures or weights are not usable; nothing was compiled yet.
        Diverged: a loss was not finite; what is needed to find out why was saved.
    """
    # 1. Everything that can be refused is refused here, on one process for all of them.
    with hosts.agreed():
        mesh = make_mesh(config.data.batch_size, accumulate=config.optim.accumulate, fsdp=config.sharding.fsdp)
        source, held_out = split(open_source(config.data.source) if pictures is None else pictures, config.data.held_out)
        require_possible(profile, config.optim.steps)
        source[0]  # raises if no picture at all can be read
        networks, frozen, given = build(config)
        blueprint = _plan(config, networks, frozen, given, mesh)
    with hosts.agreed():
        workdir = open_workdir(root, config, fresh=fresh) if hosts.is_first() else Workdir(root)

    with checkpoint.open_folder(workdir.checkpoints, keep=config.checkpoint.keep) as checkpoints:
        # 2. The state is born on its devices, or read straight onto them.
        state, start = _begin(blueprint, given, checkpoints)
        frozen = hosts.spread(frozen, blueprint.frozen_places)
        if start == config.optim.steps:
            if hosts.is_first():
                print(f"{workdir.root} is a finished run of {start} steps; --fresh starts over")
            return export(config, networks, frozen, state, workdir, mesh)
        if hosts.is_first():
            workdir.held_out.write_text("".join(f"{held_out.name(i)}\n" for i in range(len(held_out))))

        # 3. One step after another.
        with Log(workdir.metrics, start=start, steps=config.optim.steps) if hosts.is_first() else Silence() as log:
            _announce(log, config, state, workdir, start)
            log.note(placement_table(state._asdict() | {FROZEN: frozen}))
            judge = Judge(config, networks, held_out, mesh, workdir, log)
            if start == 0:
                log.scalars(0, judge(0, frozen, state))
            with Profile(profile, workdir.profile, start, log.note) as profiler:
                if config.data.latent_cache:
                    source = with_cached_latents(config, networks, frozen, source, workdir.latents, log.note)
                session = _Session(config, networks, frozen, mesh, source, workdir, log, checkpoints, judge, profiler)
                with _stream(config, source, start) as stream:
                    state = _advance(session, state, start, stream)

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
    checkpoints: checkpoint.Checkpoints
    judge: Judge
    profile: Profile


class _Blueprint(NamedTuple):
    """How a state comes to be, and where it lies."""

    init: Callable[[Params | None], TrainState]
    abstract: TrainState  # shapes
    places: TrainState  # shardings
    frozen_places: Params


def _plan(config: TrainConfig, networks: Networks, frozen: Params, given: Params | None, mesh: Mesh) -> _Blueprint:
    """Raises InputError if the rules of `config.sharding` do not fit."""
    init = functools.partial(initial_state, config, networks, jax.random.key(config.seed))
    abstract = jax.eval_shape(init, given)
    places = state_shardings(abstract._asdict() | {FROZEN: frozen}, mesh, config.sharding)
    frozen_places = places.pop(FROZEN)
    return _Blueprint(init, abstract, TrainState(**places), frozen_places)


def _begin(blueprint: _Blueprint, given: Params | None, checkpoints: checkpoint.Checkpoints) -> tuple[TrainState, int]:
    """The state to go on from, and how many updates it has seen."""
    if checkpoints.newest is None:
        return jax.jit(blueprint.init, out_shardings=blueprint.places)(given), 0
    items = checkpoints.load(checkpoints.newest, checkpoint.abstract_like(blueprint.abstract, blueprint.places)._asdict())
    return TrainState(**items), checkpoints.newest


def _advance(session: _Session, state: TrainState, start: int, stream: Batches) -> TrainState:
    """Runs every step from `start` on and returns the last state."""
    config, log, frozen = session.config, session.log, session.frozen
    place = batch_sharding(session.mesh)
    program = Program(config, session.networks, session.mesh, log)
    program.prepare(start, frozen, state)
    watch = Watch(config, session.workdir, log.note)
    pace = Pace()
    waiting = Waiting(stream, config.data, log)
    metrics = None
    for n in range(start, config.optim.steps):
        batch = waiting.next(metrics)
        spread = jax.tree.map(lambda share: jax.make_array_from_process_local_data(place, share), batch)
        with pace.paused():
            step = program(n, frozen, state)
        with session.profile.step(n):
            state, metrics = step(frozen, state, spread)
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
                record |= session.judge(done, frozen, state)
            log.scalars(done, record)
            if due(config.checkpoint.every):
                watch.settle(state)
                session.checkpoints.save(done, state._asdict(), config.model_dump(mode="json"))
    return state


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

"""The checkpoints of one run.

Every part of the training state is an item of its own, so that evaluation reads
the decoder and nothing else; the config travels in the metadata. Frozen networks
are not saved.

Orbax writes under a temporary name and renames at the end, so a process may be
killed at any moment. Once a save is known to be finished it gets a manifest
(`manifest.py`), which is checked before a checkpoint is loaded.
"""

import contextlib
import functools
import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jaxtyping import PyTree
from orbax.checkpoint import v1 as ocp

from asym_jax.checkpoint.agreement import any_of, of_first
from asym_jax.checkpoint.failures import SaveFailed, quieten, reason_of
from asym_jax.checkpoint.keep import Keep
from asym_jax.checkpoint.manifest import flaw, has_manifest, write_manifest
from asym_jax.errors import InputError

log = logging.getLogger(__name__)
quieten()

TEMPORARY = ".orbax-checkpoint-tmp"
"""Part of the names that Orbax writes under."""
PROBE_BYTES = 1 << 16


class Loaded(NamedTuple):
    """A checkpoint as it was saved."""

    step: int
    items: dict[str, PyTree]
    notes: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run, numbered by the updates done."""

    def __init__(self, folder: Path, keep: Keep) -> None:
        self._folder, self._keep = folder.resolve(), keep
        self._checkpointer: ocp.training.Checkpointer | None = None
        self._writer: threading.Thread | None = None
        self._error: BaseException | None = None
        self._clean()
        self._opened()

    @property
    def steps(self) -> list[int]:
        """Updates done at every checkpoint, oldest first."""
        return [checkpoint.step for checkpoint in self._opened().checkpoints]

    @property
    def newest(self) -> int | None:
        """Updates done at the newest checkpoint, or None."""
        return max(self.steps, default=None)

    @property
    def busy(self) -> bool:
        """Whether a save is going on."""
        return self._writer is not None and self._writer.is_alive()

    def save(
        self,
        step: int,
        items: dict[str, PyTree],
        config: dict[str, Any],
        *,
        scores: dict[str, float] | None = None,
        notes: dict[str, Any] | None = None,
    ) -> None:
        """Starts writing `items` in the background; empty ones are left out. The items are copied before this returns.

        Args:
            scores: what `Keep.best` chooses by.
            notes: anything JSON can say; comes back with `load`.

        Raises:
            SaveFailed: this save cannot start, or an earlier one failed and nobody has asked yet.
        """
        self.settle()
        if hopeless := of_first(self._probe):
            raise SaveFailed(hopeless)
        full = {name: tree for name, tree in items.items() if jax.tree.leaves(tree)}
        metadata = {"config": config, "notes": notes or {}}
        try:
            started = self._opened().save_checkpointables_async(
                step, full, force=True, metrics=scores or None, custom_metadata=metadata
            )
        except (OSError, ValueError) as error:
            self._abandon()
            raise SaveFailed(reason_of(error)) from error
        self._writer = threading.Thread(target=self._complete, args=(step, started), name="checkpoint", daemon=True)
        self._writer.start()

    def settle(self) -> None:
        """Waits for the save that is going on. Raises SaveFailed, once, if it failed."""
        if self._writer is None:
            return
        self._writer.join()
        self._writer, error, self._error = None, self._error, None
        if any_of(error is not None):
            self._abandon()
            raise SaveFailed(reason_of(error) if error else "another process says why") from error

    def load(self, step: int, abstract: dict[str, PyTree]) -> dict[str, PyTree]:
        """The items of `abstract` (leaves are `jax.ShapeDtypeStruct` with shardings), read straight onto their devices."""
        full = {name: tree for name, tree in abstract.items() if jax.tree.leaves(tree)}
        return abstract | (self._opened().load_checkpointables(step, full) if full else {})

    def load_newest(self, abstract: dict[str, PyTree]) -> Loaded | None:
        """The newest whole checkpoint, or None if the folder holds none at all.

        Newer, damaged ones are moved aside (`damaged_000123`) and named in a warning, but only once an older one has proved
        to be loadable; nothing is ever deleted.

        Raises:
            InputError: none of the checkpoints there can be loaded, or a whole one cannot.
        """
        damaged: dict[int, str] = {}
        for step in reversed(self.steps):
            place = self._folder / str(step)
            checked, reason = of_first(functools.partial(_check, place))
            if reason is None:
                loaded = self._attempt(step, abstract)
                if isinstance(loaded, Loaded):
                    self._set_aside(damaged, step)
                    return loaded
                if checked:
                    raise InputError(
                        f"checkpoint {place} is whole but cannot be loaded ({loaded}). Was it written by another version of "
                        "this program? --fresh starts over."
                    )
                reason = loaded
            damaged[step] = reason
        if damaged:
            there = "\n".join(f"  {step}: {reason}" for step, reason in damaged.items())
            raise InputError(f"none of the checkpoints in {self._folder} is whole:\n{there}\n--fresh starts over.")
        return None

    def config(self, step: int) -> dict[str, Any]:
        """The config that was saved with a step."""
        return self._metadata(step)["config"]

    def close(self) -> None:
        """Waits for the save that is going on; a failure nobody asked about is logged."""
        try:
            self.settle()
        except SaveFailed as error:
            log.warning("the last checkpoint could not be written: %s", error)
        self._clean()
        if self._checkpointer is not None:
            self._checkpointer.close()

    def _attempt(self, step: int, abstract: dict[str, PyTree]) -> Loaded | str:
        """A checkpoint, or why it cannot be loaded."""
        try:
            notes = self._metadata(step).get("notes") or {}
            # One by one: after a failure Orbax would forget the others half-way, and complain of that.
            items = {name: self.load(step, {name: tree})[name] for name, tree in abstract.items()}
        except Exception as error:
            return reason_of(error)
        return Loaded(step, items, notes)

    def _opened(self) -> ocp.training.Checkpointer:
        if self._checkpointer is None:
            self._checkpointer = ocp.training.Checkpointer(self._folder, preservation_policy=self._keep.policy())
        return self._checkpointer

    def _metadata(self, step: int) -> dict[str, Any]:
        metadata = self._opened().checkpointables_metadata(step).custom_metadata
        if not metadata or "config" not in metadata:
            raise ValueError("its metadata cannot be read")
        return metadata

    def _probe(self) -> str | None:
        """Why nothing can be written, if so. Orbax would find out too, but leave threads behind that wait for five minutes."""
        self._clean()  # threads of a save that failed may have gone on for a while
        probe = self._folder / f"0{TEMPORARY}-probe"
        try:
            probe.mkdir(parents=True, exist_ok=True)
            (probe / "bytes").write_bytes(bytes(PROBE_BYTES))
        except OSError as error:
            return reason_of(error)
        finally:
            shutil.rmtree(probe, ignore_errors=True)
        return None

    def _complete(self, step: int, started: Any) -> None:
        """Runs beside the training: waits for Orbax, then notes what was written."""
        try:
            started.result()
        except BaseException as error:
            self._error = error
            return
        if jax.process_index() == 0:
            try:
                write_manifest(self._folder / str(step))
            except OSError as error:
                log.warning("checkpoint %d is saved, but nothing to check it by (%s)", step, reason_of(error))

    def _abandon(self) -> None:
        """After a failure: gives its space back, and has Orbax look at the folder anew before the next save."""
        checkpointer, self._checkpointer = self._checkpointer, None
        if checkpointer is not None:
            with contextlib.suppress(Exception):  # the failure again
                checkpointer.close()
        self._clean()

    def _clean(self) -> None:
        """Removes what killed and failed saves have left."""
        if jax.process_index() == 0:
            for path in self._folder.glob(f"*{TEMPORARY}*"):
                shutil.rmtree(path, ignore_errors=True)

    def _set_aside(self, damaged: dict[int, str], instead: int) -> None:
        for step, reason in damaged.items():
            aside = _free(self._folder / f"damaged_{step:06}")
            if jax.process_index() == 0:
                log.warning("checkpoint %d is damaged (%s): going on from %d; it is kept as %s", step, reason, instead, aside)
                (self._folder / str(step)).rename(aside)
        if damaged:
            any_of(False)  # nobody looks before they are gone
            self._opened().reload()


@contextlib.contextmanager
def open_folder(folder: Path, keep: Keep) -> Iterator[Checkpoints]:
    """Yields the checkpoints in `folder`; all writes are finished when the block ends, but a KeyboardInterrupt waits for none."""
    checkpoints = Checkpoints(folder, keep)
    try:
        yield checkpoints
    except KeyboardInterrupt:
        if not checkpoints.busy:
            checkpoints.close()
        raise
    except BaseException:
        checkpoints.close()
        raise
    checkpoints.close()


def abstract_like(tree: PyTree, shardings: PyTree) -> PyTree:
    """Shapes, types and places of `tree`, as `Checkpoints.load` wants them."""
    return jax.tree.map(lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), tree, shardings)


def _check(place: Path) -> tuple[bool, str | None]:
    """Whether a checkpoint has a manifest to be checked by, and what is wrong with it."""
    return (True, flaw(place)) if has_manifest(place) else (False, None)


def _free(path: Path) -> Path:
    """`path`, or with a number behind it if it is taken."""
    taken = 1
    free = path
    while free.exists():
        taken += 1
        free = path.with_name(f"{path.name}.{taken}")
    return free

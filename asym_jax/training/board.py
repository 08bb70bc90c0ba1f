"""TensorBoard's event files, on a disk that may be full for a while.

tensorboardX writes them in a thread that an OSError would end, after which the
training would wait for it for ever. It lets others open its files, by the prefix
of the folder's name.
"""

from pathlib import Path

from tensorboardX import SummaryWriter
from tensorboardX.record_writer import register_writer_factory

from asym_jax.training.durable import Appender

PREFIX = "durable"


class _Files:
    """What tensorboardX asks of an owner of files."""

    @staticmethod
    def open(path: str) -> Appender:
        return Appender(Path(path.removeprefix(f"{PREFIX}:")))

    @staticmethod
    def directory_check(path: str) -> None:
        """The folder of a run exists."""


register_writer_factory(PREFIX, _Files)


def open_board(folder: Path, *, start: int) -> SummaryWriter:
    """A writer of event files in `folder`, for a run that goes on from step `start`.

    TensorBoard hides what earlier files hold from the step after it on; step `start` itself is not written again.
    """
    return SummaryWriter(f"{PREFIX}:{folder}", purge_step=start + 1 if start else 0, flush_secs=10)

"""`train.py`, hindered in the way that the environment names, so that a test can meet it at the right moment."""

import hashlib
import os
import sys
import time

import numpy as np

import train
from asym_jax.commands import report_errors
from asym_jax.data.batches import Batches
from asym_jax.training import saving
from asym_jax.training.judge import Judge


def slow_evaluation() -> None:
    judge = Judge.__call__

    def slowly(self: Judge, done: int, *given: object) -> dict[str, float]:
        if done:
            print(f"evaluating {done}", flush=True)
            time.sleep(5)
        return judge(self, done, *given)

    Judge.__call__ = slowly


def slow_save() -> None:
    finish = saving.Saver.finish

    def slowly(self: saving.Saver, *given: object, **named: object) -> None:
        print("saving slowly", flush=True)
        time.sleep(60)
        finish(self, *given, **named)

    saving.Saver.finish = slowly


def announced_batches() -> None:
    """Prints a digest of every picture of every batch that a step gets."""
    take = Batches.__next__

    def announced(self: Batches) -> np.ndarray:
        number, batch = self._number, take(self)
        print(f"batch {number}: {' '.join(hashlib.sha256(picture.tobytes()).hexdigest()[:12] for picture in batch)}", flush=True)
        return batch

    Batches.__next__ = announced


def little_patience() -> None:
    saving.MINUTE, saving.RETRY_AFTER = 3.0, 1.0


if __name__ == "__main__":
    globals()[os.environ["HINDRANCE"].replace(" ", "_")]()
    with report_errors():
        train.main(sys.argv[1:])

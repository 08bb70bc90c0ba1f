"""`train.py`, hindered in the way that the environment names, so that a test can meet it at the right moment."""

import os
import sys
import time

import train
from asym_jax.commands import report_errors
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


def little_patience() -> None:
    saving.MINUTE, saving.RETRY_AFTER = 3.0, 1.0


if __name__ == "__main__":
    {"slow evaluation": slow_evaluation, "slow save": slow_save, "little patience": little_patience}[os.environ["HINDRANCE"]]()
    with report_errors():
        train.main(sys.argv[1:])

"""Compares trained decoders with the plain one of the same autoencoder, on all devices.

    python eval.py --task reconstruct (--run DIR | --weights DIR|FILE|HUB_ID --vae DIR|HUB_ID) --images DIR [--masks DIR|RECIPE]
    python eval.py (--table N | --task TASK) (--run DIR | --weights DIR|FILE|HUB_ID) --pipeline DIR|HUB_ID --images SET:DIR

Writes pictures, results.json and report.html into --out (default results/NAME-TASK). The same command again goes on where it
was. docs/evaluation.md says what is measured.
"""

import sys

from asym_jax.commands import report_errors
from asym_jax.evaluation.command import parse_eval


def main(arguments: list[str]) -> None:
    """Parses, wires, runs; errors of the user end as one message and exit status 2."""
    command = parse_eval(arguments, __doc__)
    from asym_jax.evaluation import tasks  # only now: --help and typing errors should not wait for JAX
    from asym_jax.training import compiled

    compiled.keep_on_disk()
    tasks.run(command)


if __name__ == "__main__":
    with report_errors("the same command goes on where it was"):
        main(sys.argv[1:])

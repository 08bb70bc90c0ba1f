"""Compares a trained decoder with the plain one of the same autoencoder, on all devices.

    python eval.py (--run DIR | --weights DIR|HUB_ID) --task reconstruct --images DIR [--masks DIR|PRESET] [--out DIR] [--limit N]

Writes results.json, report.html and pictures into --out (default results/NAME-TASK).
"""

import sys

from asym_jax.commands import report_errors
from asym_jax.evaluation.command import parse_eval


def main(arguments: list[str]) -> None:
    """Parses, wires, runs; errors of the user end as one message and exit status 2."""
    command = parse_eval(arguments, __doc__)
    from asym_jax.evaluation.tasks import run  # only now: --help and typing errors should not wait for JAX

    run(command)


if __name__ == "__main__":
    with report_errors():
        main(sys.argv[1:])

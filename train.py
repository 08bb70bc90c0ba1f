"""Trains a mask-conditioned decoder.

    python train.py --config NAME|FILE.py [--workdir DIR] [--fresh] [--profile START:STOP] [--section.field VALUE ...]

NAME is a preset of configs/ (demo, base, large, large2x). The run lives in
--workdir (default runs/NAME); the same command again goes on where it stopped,
and --fresh deletes it and starts over. Every setting below can be overridden.
On several hosts, start the same command on each of them (docs/training.md).
"""

import sys
from pathlib import Path

from asym_jax.commands import parse_train, report_errors


def main(arguments: list[str]) -> None:
    """Parses, wires, runs; errors of the user end as one message and exit status 2."""
    command = parse_train(arguments, Path(__file__).parent / "configs", __doc__)
    from asym_jax.training import compiled, hosts  # only now: --help and typing errors should not wait for JAX
    from asym_jax.training.loop import run

    compiled.keep_on_disk()
    hosts.initialise(command.coordinator, command.processes, command.process)
    run(command.config, command.workdir, fresh=command.fresh, profile=command.profile)


if __name__ == "__main__":
    with report_errors():
        main(sys.argv[1:])

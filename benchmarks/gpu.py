"""Every row that is asked for on a GPU, one after the other; rows that fail do not stop the others.

    python -m benchmarks.gpu [--minutes 25] [--list] [--only decode]

The most important rows come first. No row begins after so many minutes; what is measured is written at once. The rows are
commands of this folder, and can be run one by one.
"""

import argparse
import shlex
import subprocess
import sys
import time

MODELS = (("base", 16), ("large", 16), ("large2x", 8))
COMMON = "--dtype bfloat16 --rounds 5"
ROWS = (
    *(f"benchmarks.step --model {m} --size 256 --batch {b} {COMMON}" for m, b in MODELS),
    *(f"benchmarks.decode --model {m} --size 512 --batch 8 {COMMON} --compile-mode default" for m, _ in MODELS),
    f"benchmarks.decode --model base --size 512 --batch 8 --no-mask {COMMON} --compile-mode default",
    f"benchmarks.decode --model base --size 512 --samples 8 {COMMON} --peers torch_channels_last",
    f"benchmarks.encode --size 256 512 --batch 16 {COMMON} --compile-mode default",
    "benchmarks.evaluate --batch 32 --rounds 5 --peers torch",
    f"benchmarks.step --model base --size 256 --batch 32 {COMMON} --peers fused ours_asleep",
    f"benchmarks.decode --model base --size 256 1024 --batch 4 {COMMON} --peers torch_channels_last",
    f"benchmarks.decode --model base --size 512 --batch 8 {COMMON} --peers torch_compiled --compile-mode max-autotune",
)
"""max-autotune tries for many minutes, and replaces the row of the plain compilation."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=25, help="no row begins later (default 25)")
    parser.add_argument("--only", default="", metavar="WORDS", help="rows that contain this, such as 'step --model base'")
    parser.add_argument("--list", action="store_true", help="only show the commands")
    settings = parser.parse_args()
    end, failed = time.monotonic() + 60 * settings.minutes, []
    for row in ROWS:
        if settings.only not in row:
            continue
        if settings.list:
            print(f"python -m {row}")
        elif time.monotonic() > end:
            failed.append(f"no time was left: {row}")
        elif subprocess.run([sys.executable, "-m", *shlex.split(row)]).returncode:
            failed.append(f"failed: {row}")
    sys.exit("\n".join(failed) or None)


if __name__ == "__main__":
    main()

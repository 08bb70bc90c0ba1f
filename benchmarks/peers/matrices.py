"""The most that a machine gives in practice: one large matrix product."""

import time
from collections.abc import Callable

ATTEMPTS = 5


def best_rate(make: Callable[[int], Callable[[int], None]], *, on_cpu: bool) -> float:
    """FLOP/s of the best of several attempts; `make(side)` gives what multiplies two square matrices so often and then waits."""
    side, repeats = (3072, 1) if on_cpu else (8192, 50)
    run = make(side)
    run(1)
    seconds = []
    for _ in range(ATTEMPTS):
        begin = time.perf_counter()
        run(repeats)
        seconds.append((time.perf_counter() - begin) / repeats)
    return 2.0 * side**3 / min(seconds)

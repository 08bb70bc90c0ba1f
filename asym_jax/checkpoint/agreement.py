"""What all processes of a run must decide alike."""

import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

LONGEST = 4096
"""Bytes of JSON that one process can tell the others."""


def of_first(decide: Callable[[], Any]) -> Any:
    """What `decide` returns on process 0 (anything JSON can say), on every process; nobody else calls it."""
    if jax.process_count() == 1:
        return decide()
    message = np.zeros(LONGEST, np.uint8)
    if jax.process_index() == 0:
        said = json.dumps(decide()).encode()[:LONGEST]
        message[: len(said)] = np.frombuffer(said, np.uint8)
    heard = np.asarray(multihost_utils.broadcast_one_to_all(message), np.uint8)
    return json.loads(heard.tobytes().rstrip(b"\0").decode())


def any_of(here: bool) -> bool:
    """Whether it is true on any process; all must ask."""
    if jax.process_count() == 1:
        return here
    return bool(np.any(multihost_utils.process_allgather(np.asarray(here))))

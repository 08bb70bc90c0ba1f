"""Silence about one thing that every call into diffusers' and transformers' Flax classes repeats."""

import contextlib
import logging
from collections.abc import Iterator

import diffusers
import transformers

FAREWELLS = ("Flax classes are deprecated", "TensorFlow and JAX classes are deprecated")
"""How the messages begin that diffusers 0.39 and transformers 4.57 log for each class, at each tracing. The next versions have
no Flax classes, which is why these are pinned."""


REMINDER = "You have disabled the safety checker"
"""The same, where a user asked for that."""


@contextlib.contextmanager
def no_farewell(*more: str) -> Iterator[None]:
    """Within the block nothing logs `FAREWELLS`, nor what begins with `more`; everything else, and afterwards, is as it was."""

    def is_something_else(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith((*FAREWELLS, *more))

    handlers = [handler for library in (diffusers, transformers) for handler in logging.getLogger(library.__name__).handlers]
    for handler in handlers:
        handler.addFilter(is_something_else)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(is_something_else)

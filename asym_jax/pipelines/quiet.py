"""Silence about one thing that every call into diffusers' and transformers' Flax classes repeats."""

import contextlib
import logging
from collections.abc import Iterator

import diffusers
import transformers

FAREWELLS = ("Flax classes are deprecated", "TensorFlow and JAX classes are deprecated")
"""How the messages begin that diffusers 0.39 and transformers 4.57 log for each class, at each tracing. The next versions have
no Flax classes, which is why these are pinned."""


def _is_something_else(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(FAREWELLS)


@contextlib.contextmanager
def no_farewell() -> Iterator[None]:
    """Within the block nothing logs `FAREWELLS`; all other messages, and everything afterwards, are as they were."""
    handlers = [handler for library in (diffusers, transformers) for handler in logging.getLogger(library.__name__).handlers]
    for handler in handlers:
        handler.addFilter(_is_something_else)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(_is_something_else)

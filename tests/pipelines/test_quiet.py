"""What diffusers repeats is left out, and nothing else."""

import logging

import diffusers
import pytest

from asym_jax.pipelines.quiet import REMINDER, no_farewell


@pytest.fixture
def said():
    """What arrives at diffusers' own handler."""
    heard: list[str] = []
    (handler, *_) = logging.getLogger(diffusers.__name__).handlers
    emit, handler.emit = handler.emit, lambda record: heard.append(record.getMessage())
    yield heard
    handler.emit = emit


@pytest.mark.parametrize(("more", "expected"), [((), [REMINDER, "news"]), ((REMINDER,), ["news"])])
def test_only_what_is_named_is_left_out_and_only_inside(said, more, expected):
    log = logging.getLogger("diffusers.somewhere")
    with no_farewell(*more):
        for message in ("Flax classes are deprecated and ...", REMINDER, "news"):
            log.warning(message)
    assert said == expected
    log.warning("Flax classes are deprecated and ...")
    assert said == [*expected, "Flax classes are deprecated and ..."]

import jax
import jax.numpy as jnp
import pytest

from asym_jax.metrics.mean import Mean

pytestmark = pytest.mark.usefixtures("strict_dtypes")


def test_padding_never_reaches_the_average():
    first = jax.jit(Mean.of)(jnp.array([1.0, 2.0, 3.0]), jnp.array([True, True, True]))
    last = Mean.of(jnp.array([6.0, jnp.nan, jnp.inf]), jnp.array([True, False, False]))
    assert first.merge(last).result() == 3.0


def test_bad_values_that_count_are_not_hidden():
    assert Mean.of(jnp.array([1.0, jnp.inf]), jnp.array([True, True])).result() == float("inf")


def test_nothing_counted_gives_no_number():
    assert Mean.of(jnp.array([1.0]), jnp.array([False])).result() is None

import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    """Compiling takes longer than everything else here."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)

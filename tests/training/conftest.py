import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    """Real networks compile for minutes otherwise, to save milliseconds of running."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)

"""Weights in other people's files <-> our parameter trees, without torch."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asym_jax.weights.pretrained import load_pretrained, save_pretrained

__all__ = ["load_pretrained", "save_pretrained"]


def __getattr__(name: str) -> Any:
    """Imports the two functions when they are asked for: the command line's --help should not wait for JAX."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from asym_jax.weights import pretrained

    return getattr(pretrained, name)

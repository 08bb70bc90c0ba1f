"""Weights in other people's files <-> our parameter trees, without torch."""

from asym_jax.weights.pretrained import load_pretrained, save_pretrained

__all__ = ["load_pretrained", "save_pretrained"]

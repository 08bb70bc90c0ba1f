"""What is written to disk, and how a run picks up where it stopped: the only part of the package that imports Orbax."""

from asym_jax.checkpoint.failures import SaveFailed
from asym_jax.checkpoint.folder import Checkpoints, Loaded, abstract_like, open_folder
from asym_jax.checkpoint.keep import Keep

__all__ = ["Checkpoints", "Keep", "Loaded", "SaveFailed", "abstract_like", "open_folder"]

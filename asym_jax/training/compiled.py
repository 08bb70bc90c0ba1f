"""Compiled programs that outlive the process, so that a run that goes on does not compile again."""

import os
from pathlib import Path

import jax

DEFAULT = Path("~/.cache/asym_jax/compiled")


def keep_on_disk() -> None:
    """Turns JAX's persistent cache on, in `DEFAULT` unless JAX_COMPILATION_CACHE_DIR names another folder.

    What XLA found out about the fastest forms of its operations on a GPU is kept there too, unless
    JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES says otherwise; most of a first compilation goes into that.
    JAX_ENABLE_COMPILATION_CACHE=0 turns it off. Must come before the first compilation.
    """
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(DEFAULT.expanduser()))
    if not os.environ.get("JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES"):
        jax.config.update("jax_persistent_cache_enable_xla_caches", "xla_gpu_per_fusion_autotune_cache_dir")

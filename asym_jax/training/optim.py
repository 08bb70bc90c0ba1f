"""Optimisers and schedules of decoder and critic.

Both are Adam with a linear warm-up and a cosine that ends at an absolute rate,
as in the released code; the decoder's parameters fall into groups by a table of
regular expressions.
"""

import re
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from asym_jax.arrays import Params
from asym_jax.config import OptimConfig
from asym_jax.errors import InputError

WARMUP_START = 0.01
"""First learning rate of a warm-up, as a share of the peak."""


def warmup_cosine(peak: float, *, final: float, warmup_steps: int, steps: int) -> optax.Schedule:
    """Rises linearly from 1% of `peak` over `warmup_steps`, then falls as a cosine to the absolute rate `final` at `steps`."""
    rise = optax.linear_schedule(WARMUP_START * peak, peak, warmup_steps)
    fall = optax.cosine_decay_schedule(peak, max(steps - warmup_steps, 1), alpha=final / peak)
    return optax.join_schedules([rise, fall], [warmup_steps]) if warmup_steps else fall


def critic_schedule(config: OptimConfig, start: int) -> optax.Schedule:
    """Exactly zero up to and including step `start`, then a warm-up and cosine of its own over what is left of the run."""
    awake = warmup_cosine(
        config.learning_rate,
        final=config.final_learning_rate,
        warmup_steps=config.warmup_steps,
        steps=max(config.steps - start, config.warmup_steps + 1),
    )
    return lambda step: jnp.where(step <= start, 0.0, awake(jnp.maximum(step - start, 0)))


def group_of(groups: Sequence[tuple[str, float]], params: Params) -> Params:
    """The pattern that each parameter belongs to, in a tree like `params`.

    A pattern is searched for in the path ("condition_encoder/layers_0/kernel"); the first match wins.

    Raises:
        InputError: a parameter matches no pattern, or a pattern no parameter.
    """
    unused = {pattern for pattern, _ in groups}

    def find(path: tuple, _: object) -> str:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        for pattern, _ in groups:
            if re.search(pattern, name):
                unused.discard(pattern)
                return pattern
        raise InputError(f"optim.groups: no pattern matches the parameter {name!r}; end the table with ('.*', 1.0)")

    labels = jax.tree_util.tree_map_with_path(find, params)
    if unused:
        raise InputError(
            f"optim.groups: no parameter of the decoder matches {sorted(unused)} (or an earlier pattern takes them all)"
        )
    return labels


def group_names(groups: Sequence[tuple[str, float]]) -> dict[str, str]:
    """A name for each pattern that logs and TensorBoard can show: its words, joined by underscores; `.*` is the `rest`."""
    names: dict[str, str] = {}
    for pattern, _ in groups:
        name = stem = re.sub(r"\W+", "_", pattern).strip("_") or "rest"
        # `critic` is the name of the other network.
        while name in (*names.values(), "critic"):
            name = f"{stem}_{len(names) + 1}"
        names[pattern] = name
    return names


def updates_applied(opt_state: optax.OptState) -> Int[Array, ""] | None:
    """Updates that this optimiser has seen: fewer than the steps done if some were skipped. None if it does not count."""
    counts = optax.tree.get_all_with_path(opt_state, "count")
    return counts[0][1] if counts else None


def decoder_optimiser(config: OptimConfig, params: Params) -> optax.GradientTransformation:
    """Adam with one schedule per group of `config.groups`; `params` may be abstract. Raises as `group_of` does."""
    schedules = {pattern: decoder_schedule(config, multiplier) for pattern, multiplier in config.groups}
    return optax.chain(
        _adam(config),
        optax.partition({p: optax.scale_by_learning_rate(s) for p, s in schedules.items()}, group_of(config.groups, params)),
    )


def decoder_schedule(config: OptimConfig, multiplier: float) -> optax.Schedule:
    """The schedule of a group whose peak is `multiplier` times the learning rate."""
    return warmup_cosine(
        config.learning_rate * multiplier, final=config.final_learning_rate, warmup_steps=config.warmup_steps, steps=config.steps
    )


def critic_optimiser(config: OptimConfig, start: int) -> optax.GradientTransformation:
    """Adam that counts from step 0 but moves nothing up to step `start`, as the released code does."""
    return optax.chain(_adam(config), optax.scale_by_learning_rate(critic_schedule(config, start)))


def _adam(config: OptimConfig) -> optax.GradientTransformation:
    return optax.scale_by_adam(*config.betas, eps=config.epsilon)

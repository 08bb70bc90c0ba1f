"""Products of evaluated autoencoders are in float32 on every device, which changes nothing where they are so anyway."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.evaluation import encoded, versions
from asym_jax.evaluation.encoded import EncodedLatents
from asym_jax.evaluation.versions import Plan
from tests.evaluation.tiny import examples, subjects

ROWS = 2


@pytest.fixture(scope="module")
def both():
    return subjects(levels=2)


def inputs():
    pixels, masks = (np.stack([getattr(example, part) for example in examples(ROWS)]) for part in ("pixels", "mask"))
    return jnp.float32(pixels) / 127.5 - 1, jnp.asarray(masks)


def encode(both):
    """A new function each time, so that nothing traced before is used again."""
    source = EncodedLatents(both)
    return lambda images, masks: source.latents(source.params, images, {})


def decode(both):
    plan = Plan(conditioned=True, ablation=True)

    def made(images, masks):
        latents = jnp.zeros((ROWS, 8, 8, 4)) + images.mean(axis=3, keepdims=True)[:, ::2, ::2]
        params = jax.tree.map(jnp.asarray, both.params)
        return versions.versions(both, plan, params, latents, images, masks)

    return made


@pytest.mark.parametrize("made", [encode, decode])
def test_every_product_asks_for_all_bits(both, made):
    program = jax.jit(made(both)).lower(*inputs()).as_text()
    products = [line for line in program.splitlines() if re.search(r"stablehlo\.(dot_general|convolution)\b", line)]
    assert len(products) > 10
    exact = ("precision HIGHEST>, #stablehlo<precision HIGHEST>", "precision = [HIGHEST, HIGHEST]")
    assert [line for line in products if not any(wanted in line for wanted in exact)] == []


@pytest.mark.parametrize("made", [encode, decode])
def test_on_a_cpu_no_bit_changes(both, made, monkeypatch):
    found = jax.jit(made(both))(*inputs())
    for module in (encoded, versions):
        monkeypatch.setattr(module, "PRECISION", None)
    before = jax.jit(made(both))(*inputs())
    jax.tree.map(np.testing.assert_array_equal, found, before)

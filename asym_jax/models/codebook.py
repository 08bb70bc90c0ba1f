"""The codebook of a VQ-regularised first stage: every latent vector becomes the nearest entry."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from asym_jax.arrays import Latents

SCORES = 2**25
"""Comparisons held at a time: 128 MiB. The latents of one 512-pixel picture at stride 4 have 2**27 with 8192 entries."""

Entries = Float[Array, "k z"]


def nearest(entries: Entries, latents: Latents, *, limit: int = SCORES) -> Int[Array, "b h w"]:
    """The index of the entry nearest to each position's vector (arXiv 2306.04632, equation 1):

        argmin_k |z - e_k|^2  =  argmin_k |e_k - m|^2 - 2 <z - m, e_k - m>,    m the mean of the entries

    in float32 whatever the types. What all entries share is left out and the mean
    taken off first, because the error of the matrix product grows with the length
    of both vectors and not with their distance. Still, of two entries whose
    distances differ by less than that error either may come out, as with every
    matrix form (PyTorch's `cdist` and the released code among them): on normal
    data, 1 position in 4096 at most with up to 16384 entries, each time with a
    distance within 1e-6 of the smallest. Both entries approximate the latent
    equally well, but they may lie far from each other. Of equally near entries the
    first is taken.

    The *entries* are looked at in turns if there are more than `limit` comparisons,
    so positions may be spread over devices and need not be gathered.
    """
    entries, latents = entries.astype(jnp.float32), latents.astype(jnp.float32)
    count, positions = len(entries), max(latents.size // latents.shape[-1], 1)
    turns = -(-count // max(limit // positions, 1))
    size = -(-count // turns)
    mean = jnp.mean(entries, axis=0)
    centred, latents = entries - mean.reshape(1, -1), latents - mean.reshape(1, 1, 1, -1)
    # An entry that only fills up the last turn is infinitely far away.
    squares = jnp.pad(jnp.sum(jnp.square(centred), axis=-1), (0, turns * size - count), constant_values=jnp.inf)
    centred = jnp.pad(centred, ((0, turns * size - count), (0, 0)))

    def look(turn: int | Int[Array, ""]) -> tuple[Float[Array, "b h w"], Int[Array, "b h w"]]:
        some, lengths = (lax.dynamic_slice_in_dim(array, turn * size, size) for array in (centred, squares))
        products = jnp.einsum("bhwz,kz->bhwk", latents, some, precision=lax.Precision.HIGHEST)
        scores = lengths.reshape(1, 1, 1, -1) - 2 * products
        return jnp.min(scores, axis=-1), turn * size + jnp.argmin(scores, axis=-1)

    def better(turn: int | Int[Array, ""], best: tuple) -> tuple:
        score, index = look(turn)
        closer = score < best[0]
        return jnp.where(closer, score, best[0]), jnp.where(closer, index, best[1])

    return lax.fori_loop(1, turns, better, look(0))[1]


class Codebook(nn.Module):
    """Entries as parameters, under diffusers' name `quantize.embedding`.

    Attributes:
        entries: how many.
        width: their length, the channels of the latents before `post_quant_conv`.
    """

    entries: int
    width: int

    def setup(self) -> None:
        self.embedding = nn.Embed(self.entries, self.width, embedding_init=self._draw)

    def __call__(self, latents: Latents) -> tuple[Latents, Int[Array, "b h w"]]:
        """The nearest entries, float32, and their indices. No gradient reaches `latents`: the codebook is frozen here."""
        indices = nearest(self.embedding.embedding, latents)
        return self.embedding(indices).astype(jnp.float32), indices

    def _draw(self, key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> Entries:
        """U(-1/entries, 1/entries), as the released code and diffusers draw them."""
        return jax.random.uniform(key, shape, dtype, -1 / self.entries, 1 / self.entries)

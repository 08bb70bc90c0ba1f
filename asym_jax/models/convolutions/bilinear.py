"""Convolutions by minimal filtering (Winograd): fewer products for the same sums.

Along one axis, a few outputs y of a convolution with kernel g over a window d of
inputs are y = A [(G g) * (B d)] with small constant matrices (Lavin & Gray 2015,
arXiv 1509.09308, equation 6); along both axes the matrices act one after the
other. The products of one place in the middle are a plain matrix product over
channels, as fast as anything on a CPU, and there are fewer of them than taps.

The whole is linear in d and in g, so gradients are the same steps transposed: they
cost what the convolution costs. In float32 the result differs from the direct sum by
rounding: see `schemes` for how much.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from asym_jax.arrays import Features, NewFeatures

Matrix = tuple[tuple[float, ...], ...]
Kernel = Float[Array, "height width inputs outputs"]
Grid = list[list[jax.Array]]
"""Arrays of one shape, by row and column within a window, a tile, or the middle."""


class Scheme(NamedTuple):
    """What happens along one axis.

    A *sample* is `phases` pixels side by side (2 for a convolution of stride 2, whose kernel then counts samples too).
    Inputs have a border of one zero pixel. Tile t of the outputs depends on the window that begins at sample t * `step`.
    """

    data: Matrix  # B: one row for each product, one column for each sample of the window
    kernel: Matrix  # G: one row for each product, one column for each tap
    result: Matrix  # A: one row for each output of the tile, one column for each product
    step: int
    phases: int = 1

    def outputs(self, pixels: int) -> int:
        """Outputs along an axis of so many pixels."""
        return pixels * len(self.result) // (self.step * self.phases)

    def tiles(self, pixels: int) -> int:
        """Tiles that cover these outputs; the last may be needed in part only."""
        return -(-self.outputs(pixels) // len(self.result))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def filtered(scheme: Scheme, inputs: Features, kernel: Kernel) -> NewFeatures:
    """The convolution (no bias) that `scheme` describes, along height and width alike."""
    kernel = _once_there(kernel, inputs)
    middle = jax.tree.map(_product, _windows_of(scheme, inputs), _kernels_of(scheme, kernel))
    return _joined(_along_both(scheme.result, middle), _outputs(scheme, inputs.shape))


def _forward(scheme: Scheme, inputs: Features, kernel: Kernel) -> tuple[NewFeatures, tuple[Features, Kernel]]:
    return filtered(scheme, inputs, kernel), (inputs, kernel)


def _backward(scheme: Scheme, saved: tuple[Features, Kernel], cotangent: NewFeatures) -> tuple[Features, Kernel]:
    inputs, kernel = saved
    return _input_gradient(scheme, cotangent, kernel, inputs.shape), _kernel_gradient(scheme, inputs, cotangent, kernel.shape)


filtered.defvjp(_forward, _backward)


def _input_gradient(scheme: Scheme, cotangent: NewFeatures, kernel: Kernel, shape: tuple[int, ...]) -> Features:
    kernel = _once_there(kernel, cotangent)
    if scheme.step == len(scheme.result) and scheme.phases == 1:
        # As many outputs as inputs: this is a convolution of the same kind, with the kernel turned round.
        turned = _kernels_of(scheme, kernel[::-1, ::-1])
        middle = jax.tree.map(_product_transposed, _windows_of(scheme, cotangent), turned)
        return _joined(_along_both(scheme.result, middle), shape[1:3])
    middle = jax.tree.map(_product_transposed, _tiles_of(scheme, cotangent), _kernels_of(scheme, kernel))
    windows = _along_both(_transposed(scheme.data), middle)
    rows = [_overlapping([windows[i][j] for i in range(len(windows))], scheme.step, 1) for j in range(len(windows))]
    samples = _overlapping(rows, scheme.step, 2)
    b, height, width, channels = samples.shape
    pixels = samples.reshape(b, height, width, scheme.phases, scheme.phases, shape[3]).swapaxes(2, 3)
    pixels = pixels.reshape(b, height * scheme.phases, width * scheme.phases, shape[3])
    return pixels[:, 1 : 1 + shape[1], 1 : 1 + shape[2]]


def _kernel_gradient(scheme: Scheme, inputs: Features, cotangent: NewFeatures, shape: tuple[int, ...]) -> Kernel:
    middle = jax.tree.map(_product_over_places, _windows_of(scheme, inputs), _tiles_of(scheme, cotangent))
    taps = _along_both(_transposed(scheme.kernel), middle)
    phases = scheme.phases
    kernel = jnp.stack([jnp.stack(row) for row in taps]).reshape(len(taps), len(taps), phases, phases, *shape[2:])
    return kernel.swapaxes(1, 2).reshape(shape)


def _once_there(kernel: Kernel, inputs: Features) -> Kernel:
    """The kernel, as something that is not known before the inputs are.

    Otherwise XLA transforms the kernels of all layers first and keeps them, half of what decoding needs in memory (it drops
    `optimization_barrier` on CPUs).
    """
    first = inputs[0, 0, 0, 0]
    return kernel + 0 * jnp.where(jnp.isfinite(first), first, 0)


def _windows_of(scheme: Scheme, inputs: Features) -> Grid:
    """B d: for each product one array, a place per tile; the phases lie side by side as channels."""
    tiles = [scheme.tiles(side) for side in inputs.shape[1:3]]
    samples = len(scheme.data[0])
    needed = [((count - 1) * scheme.step + samples) * scheme.phases for count in tiles]
    border = [(1, need - side - 1) for need, side in zip(needed, inputs.shape[1:3], strict=True)]
    padded = jnp.pad(inputs, ((0, 0), *border, (0, 0)))
    apart = scheme.step * scheme.phases

    def every(array: jax.Array, axis: int, first: int) -> jax.Array:
        return jax.lax.slice_in_dim(array, first, first + (tiles[axis - 1] - 1) * apart + 1, apart, axis)

    def windows(p: int, q: int) -> Grid:
        """Those of the phase `p` from above and `q` from the left."""
        rows = _combined(scheme.data, [every(padded, 1, i * scheme.phases + p) for i in range(samples)])
        return [_combined(scheme.data, [every(row, 2, j * scheme.phases + q) for j in range(samples)]) for row in rows]

    grids = [windows(p, q) for p in range(scheme.phases) for q in range(scheme.phases)]
    return jax.tree.map(_side_by_side(-1), *grids)


def _tiles_of(scheme: Scheme, outputs: NewFeatures) -> Grid:
    """A transposed, applied to tiles of what is as large as the outputs."""
    size = len(scheme.result)
    border = [(0, -side % size) for side in outputs.shape[1:3]]
    padded = jnp.pad(outputs, ((0, 0), *border, (0, 0)))
    return _along_both(_transposed(scheme.result), [[padded[:, i::size, j::size] for j in range(size)] for i in range(size)])


def _kernels_of(scheme: Scheme, kernel: Kernel) -> Grid:
    """G g: for each product one matrix from (phases and) inputs to outputs."""
    phases, taps = scheme.phases, len(scheme.kernel[0])
    grids = [
        _along_both(scheme.kernel, [[kernel[i * phases + p, j * phases + q] for j in range(taps)] for i in range(taps)])
        for p in range(phases)
        for q in range(phases)
    ]
    return jax.tree.map(_side_by_side(0), *grids)


def _side_by_side(axis: int):
    return lambda first, *others: jnp.concatenate([first, *others], axis) if others else first


def _product(windows: Features, kernel: jax.Array) -> NewFeatures:
    return jax.lax.dot_general(windows, kernel, (((3,), (0,)), ((), ())))


def _product_transposed(windows: Features, kernel: jax.Array) -> NewFeatures:
    return jax.lax.dot_general(windows, kernel, (((3,), (1,)), ((), ())))


def _product_over_places(windows: Features, tiles: NewFeatures) -> jax.Array:
    # Flattened, because XLA on a CPU is two to three times slower at products over several axes at once.
    windows, tiles = (array.reshape(-1, array.shape[3]) for array in (windows, tiles))
    return jax.lax.dot_general(windows, tiles, (((0,), (0,)), ((), ())))


def _joined(tile: Grid, outputs: Sequence[int]) -> NewFeatures:
    """Tiles put together, and cut to so many outputs."""
    rows = jnp.stack([jnp.stack(row, axis=3) for row in tile], axis=2)
    b, high, i, wide, j, channels = rows.shape
    return rows.reshape(b, high * i, wide * j, channels)[:, : outputs[0], : outputs[1]]


def _overlapping(samples: Sequence[jax.Array], step: int, axis: int) -> jax.Array:
    """The sum of windows given sample by sample, each window `step` samples after the last."""
    blocks = -(-len(samples) // step)
    samples = [*samples, *[jnp.zeros_like(samples[0])] * (blocks * step - len(samples))]
    total: jax.Array | float = 0.0
    for block in range(blocks):
        joined = jnp.stack(samples[block * step : (block + 1) * step], axis + 1)
        joined = joined.reshape(*joined.shape[:axis], -1, *joined.shape[axis + 2 :])
        border = [(0, 0)] * joined.ndim
        border[axis] = (block * step, (blocks - 1 - block) * step)
        total = total + jnp.pad(joined, border)
    return total


def _outputs(scheme: Scheme, shape: tuple[int, ...]) -> list[int]:
    return [scheme.outputs(side) for side in shape[1:3]]


def _along_both(matrix: Matrix, grid: Grid) -> Grid:
    """`matrix` applied along the rows of the grid, then along its columns."""
    columns = [_combined(matrix, [row[j] for row in grid]) for j in range(len(grid[0]))]
    return [_combined(matrix, [column[i] for column in columns]) for i in range(len(matrix))]


def _combined(matrix: Matrix, arrays: Sequence[jax.Array]) -> list[jax.Array]:
    """One weighted sum for each row of `matrix`; zeros cost nothing."""
    return [
        functools.reduce(jnp.add, [_times(weight, array) for weight, array in zip(row, arrays, strict=True) if weight])
        for row in matrix
    ]


def _times(weight: float, array: jax.Array) -> jax.Array:
    return array if weight == 1 else -array if weight == -1 else weight * array


def _transposed(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))

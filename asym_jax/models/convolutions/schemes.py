"""The matrices of minimal filtering, for the three convolutions that decoders are made of.

Each comes in two sizes. *Small* tiles round like a direct sum (relative error below 1e-6 of the largest output). *Large*
tiles save more products, cost more to transform kernels for, and round a few times coarser (below 1e-5, a
hundredth of what bfloat16 does).
"""

from collections.abc import Sequence
from fractions import Fraction
from math import prod

from asym_jax.models.convolutions.bilinear import Matrix, Scheme

Rational = int | Fraction


def cook_toom(points: Sequence[Rational], *, outputs: int, taps: int) -> tuple[Matrix, Matrix, Matrix]:
    """The matrices B, G and A for a tile of `outputs` and a kernel of `taps`, with outputs + taps - 1 products.

    Polynomials with the window, or the kernel, as coefficients are evaluated at `points` and at infinity, multiplied there,
    and interpolated; a filter is the transpose of that (Winograd 1980; Lavin & Gray 2015, section 5.1). Any distinct points are
    exact; near 1 and with few digits they round best (Barabasz et al. 2018, arXiv 1803.10986).
    """
    others = [[point for point in points if point != own] for own in points]
    scales = [prod(own - other for other in rest) for own, rest in zip(points, others, strict=True)]
    data = [[*_polynomial(rest), 0] for rest in others] + [_polynomial(points)]
    kernel = [[Fraction(point**i) / scale for i in range(taps)] for point, scale in zip(points, scales, strict=True)]
    result = [[*(point**i for point in points), int(i == outputs - 1)] for i in range(outputs)]
    return _floats(data), _floats([*kernel, [int(i == taps - 1) for i in range(taps)]]), _floats(result)


def repeated(data: Matrix, kernel: Matrix, result: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """The same for a signal in which each sample is there twice, and whose windows begin between two copies.

    The weights of both copies of a sample add up. With the points 0, 1, -1 and any others in pairs of opposite sign, the
    product of -1 is always zero, and is left out.
    """
    samples = range(len(data[0]) // 2 + 1)
    added = [[sum(weight for i, weight in enumerate(row) if (i + 1) // 2 == sample) for sample in samples] for row in data]
    kept = [i for i, row in enumerate(added) if any(row)]
    pick = lambda rows: tuple(tuple(rows[i]) for i in kept)  # noqa: E731
    return pick(added), pick(kernel), tuple(tuple(row[i] for i in kept) for row in result)


def _polynomial(roots: Sequence[Rational]) -> list[Rational]:
    """Coefficients of the product of all (x - root), the constant one first."""
    coefficients: list[Rational] = [1]
    for root in roots:
        coefficients = [high - root * low for high, low in zip([0, *coefficients], [*coefficients, 0], strict=True)]
    return coefficients


def _floats(rows: Sequence[Sequence[Rational]]) -> Matrix:
    return tuple(tuple(map(float, row)) for row in rows)


SAME_SMALL = Scheme(*cook_toom((0, 1, -1), outputs=2, taps=3), step=2)
"""Three taps, stride 1: two outputs from 4 products instead of 6."""

SAME_LARGE = Scheme(*cook_toom((0, 1, -1, 2, -2), outputs=4, taps=3), step=4)
"""Three taps, stride 1: four outputs from 6 products instead of 12.

Points of 3/4 and 3/2 round seven times finer, and take 20% longer, because they leave fewer weights of 1 in the matrices."""

HALVED_SMALL = Scheme(*cook_toom((0, 1), outputs=2, taps=2), step=2, phases=2)
"""Four taps, stride 2, which are two taps on either phase: two outputs from 3 products per phase instead of 4."""

HALVED_LARGE = Scheme(*cook_toom((0, 1, -1), outputs=3, taps=2), step=3, phases=2)
"""Four taps, stride 2: three outputs from 4 products per phase instead of 6."""

DOUBLED_SMALL = Scheme(*repeated(*cook_toom((0, 1, -1), outputs=2, taps=3)), step=1)
"""Three taps on pixels that are each there twice: two outputs from 3 products instead of 6."""

DOUBLED_LARGE = Scheme(*repeated(*cook_toom((0, 1, -1, Fraction(3, 2), Fraction(-3, 2)), outputs=4, taps=3)), step=2)
"""Three taps on pixels that are each there twice: four outputs from 5 products instead of 12."""

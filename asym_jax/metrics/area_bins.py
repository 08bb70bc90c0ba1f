"""Pictures grouped by how much of them is missing: the bins of LaMa's evaluation, of which the paper reports "40-50%"."""

import numpy as np
from jaxtyping import Float, Int

BINS = 10

BIN_LABELS = tuple(f"{10 * i}-{10 * (i + 1)}%" for i in range(BINS))
"""What the bins are called, smallest holes first: 0-10%, 10-20%, ..., 90-100%."""


def area_bins(areas: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The bin of each hole area in [0, 1], as an index of `BIN_LABELS`.

    Bins hold their lower edge and not their upper one, as `np.linspace(0, 1, 11)` with
    `side="right"` would have it; a picture that is all hole belongs to the last. An edge is
    met exactly: half of all pixels is in 50-60% whatever the size, because areas are rounded to a billionth of a bin
    and a pixel is never that small.

    Raises:
        ValueError: an area is not in [0, 1].
    """
    if not np.all((areas >= 0) & (areas <= 1)):
        raise ValueError("hole areas must be in [0, 1]")
    return np.minimum(np.floor(np.round(areas * BINS, 9)).astype(np.int64), BINS - 1)

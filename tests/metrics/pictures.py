"""A picture with smooth and busy parts, flat black and white ones, and a damaged copy."""

import numpy as np


def pair(height: int = 40, width: int = 51) -> tuple[np.ndarray, np.ndarray]:
    """Two batches of two uint8 pictures."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    smooth = 127 + 120 * np.sin(x / 7 + np.arange(3)[:, None, None]) * np.cos(y / 5)
    busy = random.integers(0, 256, (3, height, width))
    original = np.stack([smooth, np.where(x < width // 2, busy, 255)]).transpose(0, 2, 3, 1)
    original[0, :15] = 0
    damaged = np.clip(original + random.normal(scale=12, size=original.shape), 0, 255)
    return original.astype(np.uint8), damaged.astype(np.uint8)

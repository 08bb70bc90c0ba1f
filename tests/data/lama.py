"""LaMa's mask generators as described in its paper and settings, in NumPy and OpenCV: what ours must agree with."""

import cv2
import numpy as np


def brush_mask(rng, height, width, *, min_strokes, max_strokes, max_width, max_length):
    mask = np.zeros((height, width), np.float32)
    for i in range(rng.integers(min_strokes, max_strokes + 2)):
        x, y = rng.integers(width), rng.integers(height)
        for _ in range(1 + rng.integers(5)):
            angle = 0.01 + rng.integers(4)
            if i % 2 == 0:
                angle = 2 * 3.1415926 - angle
            length, brush = 10 + rng.integers(max_length), 5 + rng.integers(max_width)
            x1 = int(np.clip(int(x + length * np.sin(angle)), 0, width))
            y1 = int(np.clip(int(y + length * np.cos(angle)), 0, height))
            cv2.line(mask, (int(x), int(y)), (x1, y1), 1.0, int(brush))
            x, y = x1, y1
    return mask


def box_mask(rng, height, width, *, margin, min_side, max_side, min_count, max_count):
    mask = np.zeros((height, width), np.float32)
    for _ in range(rng.integers(min_count, max_count + 1)):
        w, h = rng.integers(min_side, max_side + 1, size=2)
        x, y = rng.integers(margin, width - margin - w + 1), rng.integers(margin, height - margin - h + 1)
        mask[y : y + h, x : x + w] = 1
    return mask


def thick_mask(rng, height=256, width=256):
    """random_thick_256: weights 1 and 0.3."""
    if rng.uniform() < 1 / 1.3:
        return brush_mask(rng, height, width, min_strokes=1, max_strokes=5, max_width=100, max_length=200)
    return box_mask(rng, height, width, margin=10, min_side=30, max_side=150, min_count=1, max_count=3)

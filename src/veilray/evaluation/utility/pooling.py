"""Images made small: both families of image learners look at averages of neighbouring pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import adaptive_avg_pool2d

__all__ = ["pooled"]

CHUNK = 1024


def pooled(images: NDArray[Any], side: int) -> NDArray[np.float32]:
    """Average-pool `(n, c, h, w)` integers by one whole factor until neither side is above `side`.

    Images that are small enough are only converted. Where the factor does not divide a side, windows overlap by a
    pixel. Averaging, not sampling: the noise of a release is mostly in what it removes.
    """
    factor = -(-max(images.shape[2:]) // side)
    shape = tuple(-(-length // factor) for length in images.shape[2:])
    small = np.empty((*images.shape[:2], *shape), dtype=np.float32)
    for start in range(0, len(images), CHUNK):
        part = torch.from_numpy(images[start : start + CHUNK].astype(np.float32))
        small[start : start + CHUNK] = adaptive_avg_pool2d(part, shape).numpy()
    return small

"""How alike two sets of pictures are, pixel by pixel: SSIM (Wang et al. 2004) and PSNR, by torchmetrics."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from veilray.extras import needed

__all__ = ["likeness"]

_LEVELS = 255.0
_CHUNK = 32
_IDENTICAL = 100.0
"""PSNR in dB where nothing differs: the true one is infinite, which JSON cannot say."""


def likeness(images: NDArray[np.uint8], others: NDArray[np.uint8]) -> dict[str, float]:
    """Mean `ssim` of the pairs, and `psnr` in dB of all their pixels together, at most 100.

    Args:
        images, others: `(n, c, h, w)`, the n-th of one with the n-th of the other; n of 1 or more.

    Raises:
        ValueError: for sets of different shapes, or without pictures.
    """
    if images.shape != others.shape or not len(images):
        raise ValueError(f"images and others must be equally many, 1 or more, got {images.shape} and {others.shape}")
    measures = needed("torchmetrics.image", "report", "measure SSIM and PSNR")
    ssim = measures.StructuralSimilarityIndexMeasure(data_range=_LEVELS)
    psnr = measures.PeakSignalNoiseRatio(data_range=_LEVELS)
    for start in range(0, len(images), _CHUNK):
        pair = [torch.from_numpy(part[start : start + _CHUNK].astype(np.float32)) for part in (others, images)]
        ssim.update(*pair)
        psnr.update(*pair)
    return {"ssim": float(torch.as_tensor(ssim.compute())), "psnr": min(float(psnr.compute()), _IDENTICAL)}

"""Distortion: how near a reconstruction comes to its original, picture by picture, and what the null comes to.

SSIM (Wang, Bovik, Sheikh and Simoncelli 2004), its multi-scale form (Wang, Simoncelli and Bovik 2003) and PSNR are
torchmetrics'. Edge SSIM is the SSIM of two maps of gradient magnitude (Sobel): it asks for outlines, not for grey
levels. They describe distortion and are not utility.

A figure alone says little: chest X-rays resemble each other, so a mean image that knows nothing of its target already
scores. Each figure is therefore read minus that of the null reconstructor, the mean image of the attacker's own set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from veilray.extras import needed

__all__ = [
    "IDENTICAL_PSNR",
    "MEASURES",
    "SMALLEST",
    "Distortion",
    "distortion",
    "edge_strength",
    "null_reconstruction",
    "scales",
]

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]

MEASURES = ("ssim", "psnr", "ms_ssim", "edge_ssim")

IDENTICAL_PSNR = 60.0
"""dB: what equal pictures get, and the most that any pair gets; infinity has no mean."""

SMALLEST = 11
"""Pixels a side: the window of SSIM."""

_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli and Bovik 2003, finest first
_RANGE = 255.0
_TOGETHER = 128


@dataclass(frozen=True)
class Distortion:
    """One number a picture and measure, `(n,)` float64.

    Attributes:
        ssim, ms_ssim, edge_ssim: 1 for equal pictures.
        psnr: dB, at most `IDENTICAL_PSNR`.
        ms_ssim_scales: 5 as published from 176 pixels a side; fewer on smaller pictures, which then do not compare
            with published figures.
    """

    ssim: Floats
    psnr: Floats
    ms_ssim: Floats
    edge_ssim: Floats
    ms_ssim_scales: int

    def measure(self, name: str) -> Floats:
        """The numbers of one of `MEASURES`."""
        if name not in MEASURES:
            raise ValueError(f"measure must be one of {', '.join(MEASURES)}, got {name!r}")
        return np.asarray(getattr(self, name))


def distortion(originals: Images, others: Images) -> Distortion:
    """Compare pictures with others, row by row.

    Args:
        originals, others: `(n, c, h, w)` uint8, each side 11 pixels or more.

    Raises:
        ValueError: for shapes or types that do not fit.
    """
    if originals.ndim != 4 or originals.shape != others.shape or not len(originals):
        raise ValueError(f"pictures must be two (n, c, h, w) of one shape, got {originals.shape} and {others.shape}")
    if originals.dtype != np.uint8 or others.dtype != np.uint8:
        raise ValueError(f"pictures must be uint8, got {originals.dtype} and {others.dtype}")
    side = min(originals.shape[2:])
    if side < SMALLEST:
        raise ValueError(f"pictures must be {SMALLEST} x {SMALLEST} or more, got {originals.shape[2:]}")
    count = scales(side)
    weights = tuple(weight / sum(_SCALE_WEIGHTS[:count]) for weight in _SCALE_WEIGHTS[:count])

    def multi_scale(some: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = _measures().multiscale_structural_similarity_index_measure(
            other, some, data_range=_RANGE, betas=weights, reduction="none"
        )
        return found

    return Distortion(
        ssim=_rows(_ssim, originals, others),
        psnr=_rows(_psnr, originals, others),
        ms_ssim=_rows(multi_scale, originals, others),
        edge_ssim=_rows(_ssim, edge_strength(originals), edge_strength(others)),
        ms_ssim_scales=count,
    )


def null_reconstruction(own: Images, count: int) -> Images:
    """The mean image of the attacker's own set, `count` times, `(count, c, h, w)` uint8: it knows no target."""
    if own.ndim != 4 or not len(own):
        raise ValueError(f"own must be (m, c, h, w) with m at least 1, got shape {own.shape}")
    mean = np.rint(own.mean(axis=0, dtype=np.float64)).astype(np.uint8)
    return np.repeat(mean[None], count, axis=0)


def edge_strength(images: NDArray[np.generic]) -> NDArray[np.float32]:
    """Sobel gradient magnitude of `(n, c, h, w)`, grey levels a pixel (a quarter of the plain sums), edges repeated."""
    values = images.astype(np.float32) / 4

    def slope(along: int, across: int) -> NDArray[np.float32]:
        smoothed = correlate1d(values, [1, 2, 1], axis=across, mode="nearest")
        return np.asarray(correlate1d(smoothed, [-1, 0, 1], axis=along, mode="nearest"))

    # Not scipy's sobel: of more than two axes it smooths over all of them, from picture to picture too.
    return np.asarray(np.hypot(slope(3, 2), slope(2, 3)), dtype=np.float32)


def scales(side: int) -> int:
    """Scales of MS-SSIM for pictures of this shorter side: as many, up to 5, as the window fits into.

    The coarsest picture has side / 2^(scales - 1) pixels; torchmetrics asks for side / (scales - 1)^2 of them.
    """
    fits = [count for count in range(2, 6) if side // max(2 ** (count - 1), (count - 1) ** 2) >= SMALLEST]
    return max(fits, default=1)


def _rows(
    measure: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    some: NDArray[np.generic],
    others: NDArray[np.generic],
) -> Floats:
    """Apply a measure to a few pictures at a time."""
    found = []
    for first in range(0, len(some), _TOGETHER):
        a, b = (torch.from_numpy(part[first : first + _TOGETHER].astype(np.float32)) for part in (some, others))
        found.append(measure(a, b).reshape(-1).double().numpy())
    return np.concatenate(found)


def _ssim(some: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    found = _measures().structural_similarity_index_measure(other, some, data_range=_RANGE, reduction="none")
    return found if isinstance(found, torch.Tensor) else found[0]


def _psnr(some: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = _measures().peak_signal_noise_ratio(
        other, some, data_range=_RANGE, dim=(1, 2, 3), reduction="none"
    )
    return found.clamp(max=IDENTICAL_PSNR)


def _measures() -> Any:
    return needed("torchmetrics.functional.image", "report", "measure SSIM and PSNR")

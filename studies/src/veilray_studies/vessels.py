"""Vessels: do the vessels of an angiogram survive in a reconstruction of it?

Both pictures go through the vesselness filter of Frangi, Niessen, Vincken and Viergever (1998, MICCAI), scikit-image's,
and the Dice overlap (1945) of their vessel masks is taken. The masks are the filter's strongest pixels, the same share
of each picture: no truth drawn by hand is needed, and a faint reconstruction is not punished for being faint.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.filters import frangi

__all__ = ["SHARE", "WIDTHS", "vessel_dice", "vessel_mask"]

WIDTHS = (1.0, 2.0, 3.0)
"""Standard deviations in pixels at which vessels are looked for: from 2 to about 8 pixels wide."""

SHARE = 0.08
"""Of the pixels that are called vessel; contrast-filled coronary arteries take a few per cent of a frame."""


def vessel_mask(
    images: NDArray[np.uint8], *, dark: bool = True, share: float = SHARE, widths: tuple[float, ...] = WIDTHS
) -> NDArray[np.bool_]:
    """The strongest vessel-like pixels of `(n, 1, h, w)` uint8 pictures, `(n, h, w)`.

    At most `share` of the pixels: ties leave pixels out, and a picture in which the filter finds nothing has none.

    Args:
        dark: vessels are darker than what is around them, as contrast is in X-ray angiography.

    Raises:
        ValueError: for another shape or type, or a share outside (0, 1).
    """
    if images.ndim != 4 or images.shape[1] != 1 or images.dtype != np.uint8:
        raise ValueError(f"images must be (n, 1, h, w) uint8, got shape {images.shape}, {images.dtype}")
    if not 0 < share < 1:
        raise ValueError(f"share must be between 0 and 1, got {share}")
    masks = np.zeros((len(images), *images.shape[2:]), dtype=np.bool_)
    for mask, image in zip(masks, images[:, 0], strict=True):
        strength = frangi(image / 255.0, sigmas=widths, black_ridges=dark)  # type: ignore[no-untyped-call]
        found = np.asarray(strength)
        mask[:] = found > max(0.0, float(np.quantile(found, 1 - share)))
    return masks


def vessel_dice(
    originals: NDArray[np.uint8],
    others: NDArray[np.uint8],
    *,
    dark: bool = True,
    share: float = SHARE,
    widths: tuple[float, ...] = WIDTHS,
) -> NDArray[np.float64]:
    """Dice overlap of the vessel masks of pictures and of others, `(n,)`: 1 equal, 0 apart or none found.

    Raises:
        ValueError: for shapes that do not fit.
    """
    if originals.shape != others.shape:
        raise ValueError(f"pictures must be of one shape, got {originals.shape} and {others.shape}")
    some, other = (vessel_mask(part, dark=dark, share=share, widths=widths) for part in (originals, others))
    both = (some & other).sum(axis=(1, 2))
    sizes = some.sum(axis=(1, 2)) + other.sum(axis=(1, 2))
    return np.asarray(2 * both / np.maximum(sizes, 1), dtype=np.float64)

"""Own features: a small convolutional network with fixed random weights, so that no weights need be downloaded.

Random convolutions followed by pooling keep much of an image's structure (Jarrett, Kavukcuoglu, Ranzato and LeCun
2009), and they are the same for everybody: nothing was trained, nobody's images are inside. Figures on them carry the
name, as in "KID (own features)", and compare with figures on the same features only.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

__all__ = ["OWN_FEATURES", "own_features"]

OWN_FEATURES = "own features"
"""Their name in tables; what stands beside it is never called FID."""

_WIDTHS = (32, 64, 128)
_GRID = 2
"""The last maps are averaged over a 2 x 2 grid: where a thing stands matters, but not to the pixel."""

_TOGETHER = 256


def own_features(images: NDArray[np.uint8], *, seed: int = 0) -> NDArray[np.float64]:
    """Feature rows `(n, 512)` of `(n, c, h, w)` uint8 images, each side 8 pixels or more.

    The weights depend on `seed` and c alone: convolutions 3 x 3 of 32, 64 and 128 channels with rectifiers, each after
    the first on maps of half the size.

    Raises:
        ValueError: for another shape or type.
    """
    if images.ndim != 4 or images.dtype != np.uint8 or min(images.shape[2:]) < 8 or not len(images):
        raise ValueError(
            f"images must be (n, c, h, w) uint8 of at least 8 x 8, got shape {images.shape}, {images.dtype}"
        )
    weights = _weights(images.shape[1], seed)
    with torch.no_grad():
        found = [
            _forward(torch.from_numpy(images[first : first + _TOGETHER]), weights)
            for first in range(0, len(images), _TOGETHER)
        ]
    return torch.cat(found).double().numpy()


def _weights(channels: int, seed: int) -> list[torch.Tensor]:
    """Normal weights of variance 2 / fan-in (He, Zhang, Ren and Sun 2015): the spread stays from layer to layer."""
    generator = torch.Generator().manual_seed(seed)
    sizes = (channels, *_WIDTHS)
    return [
        torch.randn((out, into, 3, 3), generator=generator) * math.sqrt(2 / (9 * into))
        for into, out in itertools.pairwise(sizes)
    ]


def _forward(images: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    maps = images.float() / 127.5 - 1
    for layer, weight in enumerate(weights):
        maps = F.relu(F.conv2d(maps if layer == 0 else F.avg_pool2d(maps, 2), weight, padding=1))
    return F.adaptive_avg_pool2d(maps, _GRID).flatten(1)

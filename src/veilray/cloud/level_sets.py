"""What no renaming of grey levels takes away: each pixel told by the set of pixels that share its level.

A map of grey levels leaves such sets as they are, or joins some. How large a set is, where it lies and how far it
spreads says much of what its level was: lungs are in the middle, the dark corner is in the corner. None of it depends
on the level's name, so that a picture under one map looks as it does under another, unless levels were joined.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["LEVELS", "TOLD", "level_sets"]

LEVELS = 256
TOLD = 7
"""Numbers that `level_sets` tells of each pixel."""


def level_sets(levels: Tensor) -> Tensor:
    """Describe each pixel by its level set, in its own picture and channel.

    Args:
        levels: `(n, c, h, w)` int64, 0 to 255.

    Returns:
        `(n, 7 * c, h, w)` float32 of about one size: how many pixels share the level (logarithm), their mean row and
        column (-1 to 1), the spread of their rows and columns, and whether the pixels to the right and below share it
        (the last ones look at the first). Equal for `levels` and for any one-to-one renaming of them.
    """
    n, channels, height, width = levels.shape
    flat = levels.reshape(n * channels, height * width)
    rows = torch.linspace(-1, 1, height, device=levels.device).repeat_interleave(width)
    columns = torch.linspace(-1, 1, width, device=levels.device).repeat(height)
    places = torch.stack([torch.ones_like(rows), rows, columns, rows.square(), columns.square()], dim=1)
    of_each = flat[..., None].expand(-1, -1, places.shape[1])
    sums = places.new_zeros(len(flat), LEVELS, places.shape[1])
    sums = sums.scatter_add(1, of_each, places.expand(len(flat), -1, -1))
    count = sums[..., :1].clamp(min=1)
    means = sums[..., 1:3] / count
    spread = (sums[..., 3:] / count - means.square()).clamp(min=0).sqrt()
    sets = torch.cat([count.log() / math.log(height * width), means, spread], dim=2)
    told = sets.gather(1, of_each).mT.reshape(n, -1, height, width)
    beside = [(levels == torch.roll(levels, -1, dims=axis)).float() for axis in (3, 2)]
    return torch.cat([told, *beside], dim=1)

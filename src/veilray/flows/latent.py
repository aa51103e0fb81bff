"""The latent of a multi-scale flow: levels kept apart, and flattened to one vector an image without loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod

import numpy as np
import torch
from torch import Tensor

__all__ = ["Latent"]

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Latent:
    """The levels of a multi-scale latent, finest first.

    Args:
        levels: one tensor a level, `(n, channels, height, width)`, all of one dtype, device and n.

    Raises:
        ValueError: when there is no level, or the levels differ in rank, n or dtype.

    Example:
        >>> latent = Latent((torch.zeros(2, 2, 4, 4), torch.zeros(2, 8, 2, 2)))
        >>> latent.dimension, latent.shapes
        (64, ((2, 4, 4), (8, 2, 2)))
        >>> Latent.from_flat(latent.flat(), latent.shapes).shapes == latent.shapes
        True
    """

    levels: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        if not self.levels:
            raise ValueError("levels must be one tensor or more, got none")
        first = self.levels[0]
        for level in self.levels:
            if level.ndim != 4:
                raise ValueError(f"a level must be (n, channels, height, width), got {tuple(level.shape)}")
            if len(level) != len(first) or level.dtype != first.dtype:
                raise ValueError(
                    f"all levels must be {len(first)} rows of {first.dtype}, got {len(level)} of {level.dtype}"
                )

    def __len__(self) -> int:
        """Count the images."""
        return len(self.levels[0])

    def __getitem__(self, rows: slice) -> Latent:
        """Take a slice of the images."""
        return Latent(tuple(level[rows] for level in self.levels))

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """`(channels, height, width)` of each level, finest first."""
        return tuple((level.shape[1], level.shape[2], level.shape[3]) for level in self.levels)

    @property
    def dimension(self) -> int:
        """Number of latent elements an image: as many as the image has pixels times channels."""
        return sum(prod(shape) for shape in self.shapes)

    @property
    def slices(self) -> tuple[slice, ...]:
        """The columns of `flat()` that each level takes."""
        ends = list(accumulate((prod(shape) for shape in self.shapes), initial=0))
        return tuple(slice(start, end) for start, end in pairwise(ends))

    def flat(self) -> Tensor:
        """Join the levels to `(n, dimension)`, finest level first, channels before rows before columns."""
        return torch.cat([level.reshape(len(level), prod(level.shape[1:])) for level in self.levels], dim=1)

    def numpy(self) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        """Return `flat()` as a float64 array of numpy, which is what a mechanism takes."""
        return self.flat().detach().cpu().double().numpy()

    @classmethod
    def from_flat(cls, flat: Tensor | np.ndarray, shapes: Sequence[Shape]) -> Latent:
        """Rebuild the levels from `(n, dimension)`.

        Args:
            flat: `(n, dimension)`, tensor or array of any float dtype; the dtype is kept.
            shapes: `(channels, height, width)` of each level, finest first.

        Raises:
            ValueError: when the columns are not as many as the shapes need.
        """
        tensor = torch.as_tensor(flat)
        sizes = [prod(shape) for shape in shapes]
        if tensor.ndim != 2 or tensor.shape[1] != sum(sizes):
            raise ValueError(f"flat must be (n, {sum(sizes)}), got {tuple(tensor.shape)}")
        ends = accumulate(sizes, initial=0)
        return cls(
            tuple(
                tensor[:, start:end].reshape(len(tensor), *shape)
                for (start, end), shape in zip(pairwise(ends), shapes, strict=True)
            )
        )

"""What a flow is told beside the image: numbers and categories, one row an image, each possibly missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Condition", "ConditionConfig"]

Values = Tensor | np.ndarray | Sequence[Any]
Rows = slice | Tensor | np.ndarray

MISSING = -1
"""The level of a categorical condition that is not known; a continuous one is then NaN."""


@dataclass(frozen=True)
class Condition:
    """The conditions of n images.

    Args:
        continuous: `(n, continuous)`, floating; NaN where a value is missing. Values of order 1 serve best.
        categorical: `(n, m)`, int64 levels from 0; -1 where a level is missing.

    Raises:
        ValueError: for other shapes or dtypes, unequal rows, an infinite value, or a level below -1.

    Example:
        >>> condition = Condition.of(continuous=[[0.5, -1.0], [float("nan"), 2.0]], categorical=[3, -1])
        >>> len(condition), condition.continuous.shape[1], condition.categorical.tolist()
        (2, 2, [[3], [-1]])
    """

    continuous: Tensor
    categorical: Tensor

    def __post_init__(self) -> None:
        continuous, categorical = self.continuous, self.categorical
        if continuous.ndim != 2 or not continuous.is_floating_point():
            raise ValueError(
                f"continuous must be (n, values) and floating, got {tuple(continuous.shape)} {continuous.dtype}"
            )
        if categorical.ndim != 2 or categorical.dtype != torch.int64:
            raise ValueError(
                f"categorical must be (n, conditions) and int64, got {tuple(categorical.shape)} {categorical.dtype}"
            )
        if len(continuous) != len(categorical):
            raise ValueError(f"categorical must be {len(continuous)} rows like continuous, got {len(categorical)}")
        if bool(continuous.isinf().any()):
            raise ValueError("continuous must be finite, or NaN where missing, got an infinite value")
        if categorical.numel() and (lowest := int(categorical.min())) < MISSING:
            raise ValueError(f"categorical must be levels from 0, or -1 where missing, got {lowest}")

    def __len__(self) -> int:
        """Count the images."""
        return len(self.continuous)

    def __getitem__(self, rows: Rows) -> Condition:
        """Take a slice of the rows, or the rows of an index."""
        chosen = torch.as_tensor(rows) if isinstance(rows, np.ndarray) else rows
        return Condition(self.continuous[chosen], self.categorical[chosen])

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Condition:
        """Move both to the device; the dtype is that of `continuous`."""
        return Condition(self.continuous.to(device=device, dtype=dtype), self.categorical.to(device=device))

    @classmethod
    def of(cls, continuous: Values | None = None, categorical: Values | None = None) -> Condition:
        """Build a condition from arrays, tensors or lists; what is not given has no columns.

        Args:
            continuous: `(n, values)`, or `(n,)` for one value; a floating dtype is kept, others become float32.
            categorical: `(n, conditions)`, or `(n,)` for one condition; whole numbers.

        Raises:
            ValueError: when neither is given, or as above.
        """
        if continuous is None and categorical is None:
            raise ValueError("a condition must hold continuous or categorical values, got neither")
        numbers = None if continuous is None else _columns(continuous)
        levels = None if categorical is None else _columns(categorical)
        if numbers is None:
            assert levels is not None
            numbers = torch.zeros(len(levels), 0, device=levels.device)
        if levels is None:
            levels = torch.zeros(len(numbers), 0, dtype=torch.int64, device=numbers.device)
        if levels.is_floating_point():
            raise ValueError(f"categorical must be whole numbers, got {levels.dtype}")
        return cls(numbers if numbers.is_floating_point() else numbers.float(), levels.to(torch.int64))


@dataclass(frozen=True)
class ConditionConfig:
    """Which conditions a flow takes, and how large a net reads them.

    Args:
        continuous: number of continuous values.
        categorical: number of levels of each categorical condition.
        embedding: length of the vector that the conditions become.
        maps: channels of the spatial maps that each coupling net sees beside the image.

    Raises:
        ValueError: when a number is outside its range, or there is no condition at all.
    """

    continuous: int = 0
    categorical: tuple[int, ...] = ()
    embedding: int = 64
    maps: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "categorical", tuple(self.categorical))
        for name, lowest in (("continuous", 0), ("embedding", 1), ("maps", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise ValueError(f"{name} must be a whole number of {lowest} or more, got {value!r}")
        for levels in self.categorical:
            if isinstance(levels, bool) or not isinstance(levels, int) or levels < 1:
                raise ValueError(f"categorical must be numbers of levels, 1 or more each, got {levels!r}")
        if not self.continuous and not self.categorical:
            raise ValueError("conditions must be one continuous or categorical at least, got none")

    @property
    def features(self) -> int:
        """Length of the vector of `encode`."""
        return 2 * self.continuous + sum(levels + 1 for levels in self.categorical)

    def to_dict(self) -> dict[str, Any]:
        """Return the four fields, for JSON."""
        return {**asdict(self), "categorical": list(self.categorical)}

    def check(self, condition: Condition, rows: int) -> None:
        """Refuse a condition that is not of this kind, or not of so many rows.

        Raises:
            ValueError: for another number of rows, values or categories, or a level out of range.
        """
        if len(condition) != rows:
            raise ValueError(f"a condition must be one row an image, {rows}, got {len(condition)}")
        for name, found, expected in (
            ("continuous", condition.continuous.shape[1], self.continuous),
            ("categorical", condition.categorical.shape[1], len(self.categorical)),
        ):
            if found != expected:
                raise ValueError(f"{name} must be ({rows}, {expected}), got ({rows}, {found})")
        if not rows or not self.categorical:
            return
        for index, (top, levels) in enumerate(
            zip(condition.categorical.amax(0).tolist(), self.categorical, strict=True)
        ):
            if top >= levels:
                raise ValueError(f"categorical condition {index} must be from -1 to {levels - 1}, got {top}")

    def missing(self, rows: int) -> Condition:
        """Return the condition of which nothing is known."""
        return Condition(
            torch.full((rows, self.continuous), float("nan")),
            torch.full((rows, len(self.categorical)), MISSING, dtype=torch.int64),
        )

    def encode(self, condition: Condition) -> Tensor:
        """Return `(n, features)`: values with missing ones at 0, which are missing, and each category one-hot.

        The first place of a one-hot stands for missing. Differentiable in the continuous values.
        """
        values = condition.continuous
        missing = values.isnan()
        columns = [torch.where(missing, torch.zeros_like(values), values), missing.to(values.dtype)]
        for index, levels in enumerate(self.categorical):
            places = torch.arange(MISSING, levels, device=values.device)
            columns.append((condition.categorical[:, index, None] == places).to(values.dtype))
        return torch.cat(columns, dim=1)


def _columns(values: Values) -> Tensor:
    tensor = torch.as_tensor(np.array(values) if isinstance(values, np.ndarray) else values)
    return tensor[:, None] if tensor.ndim == 1 else tensor

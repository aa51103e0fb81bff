"""The public intensity rule: which stored values mean black and white.

A container may be wider than its values: a detector of 12 bits writes 0 to 4095 into files of 16 bits, and every
picture looks black. Nothing in the file says so for certain, and the values must not be asked, since a window taken
from them would carry information past the mechanism. So the user states the range. It is fixed before any record is
seen, kept in the model, and printed on its card.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FULL_RANGE", "IntensityRule", "Pixels", "needs_range", "parse_range"]

Pixels = NDArray[np.unsignedinteger[Any]]
"""Values of one or more images, uint8 or uint16, full type range."""

_LARGEST = 2**32
"""Bounds up to here, and what is made of whole numbers within them, are exact in double precision."""
_WHITE = 65_535
_FULL = "full"
_SUCH_AS = {"f": "0:1", "i": "-1024:3071"}  # shares of white; Hounsfield units
_BLOCK = 2**20  # values turned to double precision at a time


@dataclass(frozen=True, slots=True)
class IntensityRule:
    """Stored values `range[0]` .. `range[1]` become the full range of 16 bits; then black and white are exchanged.

    Attributes:
        range: the stored values of black and of white; None for the full range of the stored type.
        invert: exchange black and white, as for films that are stored with white as zero.

    Raises:
        ValueError: bounds that are not finite, not ascending, or beyond 2**32.
    """

    range: tuple[float, float] | None = None
    invert: bool = False

    def __post_init__(self) -> None:
        if self.range is None:
            return
        low, high = self.range
        if not (math.isfinite(low) and math.isfinite(high) and -_LARGEST <= low < high <= _LARGEST):
            raise ValueError(f"range must be LOW:HIGH with LOW below HIGH, both within 2**32, got {low}:{high}")

    @property
    def words(self) -> str:
        """The rule in words, for a model card."""
        text = "full range of the stored type"
        if self.range is not None:
            low, high = map(_number, self.range)
            text = (
                f"stored values {low} to {high} become 0 to 65535, (v - LOW) * 65535 / (HIGH - LOW) rounded "
                "half up;\n   what lies outside is clipped, and what is no number becomes 0"
            )
        return text + ("; then black and white are exchanged" if self.invert else "")

    def apply(self, values: NDArray[Any]) -> Pixels:
        """Bring stored values to unsigned ones of full range.

        Args:
            values: of any shape; uint8 or uint16, with a range any whole numbers, truth values or floating point.

        Returns:
            Of the same shape: uint16 with a range; without one the same type.

        Raises:
            ValueError: another type without a range, which says how to give one.
        """
        if self.range is not None:
            values = _windowed(values, *self.range)
        elif values.dtype.kind != "u" or values.dtype.itemsize > 2:
            raise ValueError(needs_range(values.dtype))
        if not self.invert:
            return values
        white = values.dtype.type(np.iinfo(values.dtype).max)
        inverted: Pixels = white - values
        return inverted


FULL_RANGE = IntensityRule()
"""What holds when nothing is stated."""


def parse_range(text: str | tuple[float, float] | None) -> tuple[float, float] | None:
    """Read `LOW:HIGH`, a pair of numbers, or `full` (the full range of the stored type, None).

    Raises:
        ValueError: for anything else.
    """
    if text is None or text == _FULL:
        return None
    try:
        low, high = text.split(":") if isinstance(text, str) else text
        pair = float(low), float(high)
    except (TypeError, ValueError):
        raise ValueError(f"range must be LOW:HIGH, such as 0:4095, or full, got {text!r}") from None
    return IntensityRule(pair).range


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def needs_range(dtype: np.dtype[Any], what: str = "images") -> str:
    """Why values of a type are not taken without a range, and the cure."""
    return (
        f"{what} must be uint8 or uint16, got {dtype}: state which stored values are black and white with --range "
        f"LOW:HIGH (range= in Python), such as --range {_SUCH_AS.get(dtype.kind, '0:4095')}"
    )


def _windowed(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint16]:
    if values.dtype.kind not in "biuf":
        raise ValueError(f"images must be numbers, got {values.dtype}")
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
        native = values.astype(values.dtype.newbyteorder("="), copy=False)
        table = _table(native.dtype, low, high)
        looked_up: NDArray[np.uint16] = table[native.view(f"u{native.dtype.itemsize}")]
        return looked_up
    result = np.empty(values.shape, np.uint16)
    flat, into = values.reshape(-1), result.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        into[start : start + _BLOCK] = _mapped(flat[start : start + _BLOCK], low, high)
    return result


def _mapped(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint16]:
    # Each step is one correctly rounded operation of IEEE 754: the same on every machine.
    wide = np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low)
    share = (np.clip(wide, low, high) - low) * _WHITE / (high - low)
    return np.floor(share + 0.5).astype(np.uint16)


@lru_cache(maxsize=16)
def _table(dtype: np.dtype[Any], low: float, high: float) -> NDArray[np.uint16]:
    """What each value of a type of 8 or 16 bits becomes, by its bits."""
    every = np.arange(2 ** (8 * dtype.itemsize), dtype=f"u{dtype.itemsize}")
    return _mapped(every.view(dtype), low, high)

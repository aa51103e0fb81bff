"""Geometry: what the model sees, and the public rule that brings every image to it.

The rule depends on an image's shape and type alone, never on its values: a per-image window (its minimum and
maximum, its histogram) would carry information past the mechanism.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.images.base import LONGEST_SIDE
from veilray.images.intensity import FULL_RANGE, IntensityRule, Pixels
from veilray.images.resample import enlarge, shrink

__all__ = ["RULE", "Geometry", "Original", "fit", "restore", "rule_in_words"]

_RULE = """\
1. Orientation: rows and columns are turned or mirrored as the file's EXIF or TIFF orientation says, all eight values.
2. Intensity: {intensity}.
3. Channels: RGB becomes grey by ITU-R BT.601 luma, (299 R + 587 G + 114 B + 500) // 1000; grey becomes RGB by
   repeating the channel.
4. Bit depth by full type range: 8 to 16 bits is v * 257; 16 to 8 bits is (v * 255 + 32767) // 65535. No window is
   taken from the image.
5. Padding with zeros to a square around the image's centre (the odd row or column goes below or to the right).
   Nothing is cropped.
6. Resizing to the model's size: area averaging when it shrinks (a pixel counts by the area it shares), bilinear when
   it grows, in exact arithmetic, rounded half up.
The rule uses an image's shape, type and orientation, never its values."""


def rule_in_words(intensity: IntensityRule) -> str:
    """The public rule in words, for a model card."""
    return _RULE.format(intensity=intensity.words)


RULE = rule_in_words(FULL_RANGE)
"""The public rule in words where no intensity was stated."""

_CHANNELS = (1, 3)
_BITS = (8, 16)


def _dtype(bits: int) -> np.dtype[np.unsignedinteger[Any]]:
    return np.dtype(np.uint8 if bits == 8 else np.uint16)


def _check(channels: int, bits: int) -> None:
    if channels not in _CHANNELS:
        raise ValueError(f"channels must be 1 or 3, got {channels!r}")
    if bits not in _BITS:
        raise ValueError(f"bits must be 8 or 16, got {bits!r}")


@dataclass(frozen=True, slots=True)
class Geometry:
    """What the model sees: squares of `size` x `size` with 1 or 3 channels of 8 or 16 bits.

    Raises:
        ValueError: size is not 1 to 4096, channels not 1 or 3, bits not 8 or 16.
    """

    size: int
    channels: int = 1
    bits: int = 8

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or isinstance(self.size, bool) or not 1 <= self.size <= 4_096:
            raise ValueError(f"size must be a whole number from 1 to 4096, got {self.size!r}")
        _check(self.channels, self.bits)

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(c, h, w)` of one image."""
        return (self.channels, self.size, self.size)

    @property
    def dimension(self) -> int:
        """Number of values of one image."""
        return self.channels * self.size * self.size

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """uint8 or uint16."""
        return _dtype(self.bits)

    @property
    def levels(self) -> int:
        """Number of stored values a pixel can have: 256 or 65536."""
        return int(2**self.bits)


@dataclass(frozen=True, slots=True)
class Original:
    """Rows, columns, channels and bit depth of a source image, for `restore`."""

    height: int
    width: int
    channels: int
    bits: int

    def __post_init__(self) -> None:
        if not 1 <= min(self.height, self.width) <= max(self.height, self.width) <= LONGEST_SIDE:
            raise ValueError(f"height and width must be from 1 to {LONGEST_SIDE}, got {self.height} and {self.width}")
        _check(self.channels, self.bits)


def fit(array: NDArray[Any], geometry: Geometry) -> Pixels:
    """Bring one image to the model's geometry by the public `RULE`.

    Args:
        array: `(h, w)` or `(h, w, c)` with c 1 or 3, uint8 or uint16, full type range.
        geometry: what the model sees.

    Returns:
        `(c, size, size)` uint8 or uint16, contiguous.

    Raises:
        ValueError: another shape or type (floating point is refused: its range is not stated by its type).
    """
    image = array[:, :, np.newaxis] if array.ndim == 2 else array
    if image.ndim != 3 or image.shape[2] not in _CHANNELS or 0 in image.shape:
        raise ValueError(f"image must be (h, w), (h, w, 1) or (h, w, 3), got shape {array.shape}")
    if max(image.shape) > LONGEST_SIDE:
        raise ValueError(f"rows and columns must be at most {LONGEST_SIDE}, got {image.shape[:2]}")
    planes = _convert(np.moveaxis(image, 2, 0), geometry.channels, geometry.bits)
    _, height, width = planes.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    if geometry.size < side:
        return shrink(planes, side, top, left, geometry.size)
    if height != width:
        planes = np.pad(planes, ((0, 0), (top, side - height - top), (left, side - width - left)))
    if geometry.size > side:
        planes = enlarge(planes, geometry.size, 0, 0, geometry.size, geometry.size)
    return np.ascontiguousarray(planes)


def restore(array: NDArray[Any], original: Original) -> Pixels:
    """Undo the geometry of `fit`, not its loss: back to the source's rows, columns, channels and bit depth.

    Args:
        array: `(c, size, size)` uint8 or uint16.
        original: the source's geometry. It comes from the source, so whoever uses it says so in the claim.

    Returns:
        `(c, h, w)` of the original, uint8 or uint16: resized to the padded square, then the padding cut.

    Raises:
        ValueError: another shape or type.
    """
    if array.ndim != 3 or array.shape[0] not in _CHANNELS or array.shape[1] != array.shape[2] or 0 in array.shape:
        raise ValueError(f"image must be (1, size, size) or (3, size, size), got shape {array.shape}")
    height, width = original.height, original.width
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    planes = _convert(array, original.channels, original.bits)
    if side > planes.shape[1]:
        return enlarge(planes, side, top, left, height, width)
    if side < planes.shape[1]:
        planes = shrink(planes, planes.shape[1], 0, 0, side)
    return np.ascontiguousarray(planes[:, top : top + height, left : left + width])


def _convert(planes: Pixels, channels: int, bits: int) -> Pixels:
    """`(c, h, w)` to other channels and bits, by the third and fourth step of the rule."""
    if planes.dtype.kind != "u" or planes.dtype.itemsize > 2:
        raise ValueError(f"image must be uint8 or uint16, got {planes.dtype}")
    planes = planes.astype(planes.dtype.newbyteorder("="), copy=False)
    source_bits = 8 * planes.dtype.itemsize
    if planes.shape[0] == 3 and channels == 1:
        red, green, blue = planes.astype(np.uint32)
        luma = (299 * red + 587 * green + 114 * blue + 500) // 1000
        planes = luma[np.newaxis].astype(planes.dtype)
    if source_bits == 8 and bits == 16:
        planes = planes.astype(np.uint16) * np.uint16(257)
    elif source_bits == 16 and bits == 8:
        planes = ((planes.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if planes.shape[0] == 1 and channels == 3:
        planes = np.repeat(planes, 3, axis=0)
    return planes

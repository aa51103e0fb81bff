"""The contract of an image format: say what a file holds, then read its pixels one image at a time.

A format decides from headers alone whether a file is taken. It never looks at pixel values to decide, because a
refusal that depends on the pixels would tell something about them outside the privacy claim.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Self

from veilray.images.intensity import Pixels
from veilray.images.layout import NO_CONDITIONS
from veilray.images.reading import Reading
from veilray.images.unreadable import Unreadable

__all__ = [
    "LONGEST_SIDE",
    "Format",
    "Frame",
    "ImageFile",
    "Limits",
    "check_size",
]

# Pillow warns above this many pixels and refuses above twice as many (PIL.Image.MAX_IMAGE_PIXELS): a larger limit
# here would promise what the decoder does not keep.
_LARGEST_PIXEL_LIMIT = 89_478_485

LONGEST_SIDE = 65_535
"""Rows or columns of one image: JPEG's own limit, and what keeps resampling exact."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may ask of this machine; a file that asks for more is put in quarantine, unread.

    Attributes:
        max_pixels: pixels of one image (rows x columns), at most 89,478,485.
        max_file_bytes: bytes of one file as stored.
        max_images: images of one file (pages of a TIFF, rows of an array).
        max_array_bytes: bytes of the images of one `.npy` or `.npz`, after decompression, as its header states them.
        max_path: characters of a path below the root. Layout patterns are bounded for paths of this length.

    Raises:
        ValueError: a limit is not a positive whole number, or is above what the decoders keep.
    """

    max_pixels: int = 64_000_000
    max_file_bytes: int = 8 * 2**30
    max_images: int = 1_000_000
    max_array_bytes: int = 64 * 2**30
    max_path: int = 1_024

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{limit.name} must be a whole number of 1 or more, got {value!r}")
        if self.max_pixels > _LARGEST_PIXEL_LIMIT:
            raise ValueError(f"max_pixels must be at most {_LARGEST_PIXEL_LIMIT}, got {self.max_pixels}")
        if self.max_path > 1_024:
            raise ValueError(f"max_path must be at most 1024, got {self.max_path}")


def check_size(height: int, width: int, limits: Limits) -> None:
    """Refuse rows and columns that are none, or above the limits."""
    if height < 1 or width < 1:
        raise Unreadable("rows and columns must be 1 or more, got none")
    if height * width > limits.max_pixels:
        raise Unreadable(f"rows x columns must be at most {limits.max_pixels}, got {height} x {width}")
    if max(height, width) > LONGEST_SIDE:
        raise Unreadable(f"rows and columns must be at most {LONGEST_SIDE} each, got {height} x {width}")


@dataclass(frozen=True, slots=True)
class Frame:
    """What a file says about one of its images, before any pixel is decoded.

    Attributes:
        height, width: rows and columns, after the file's orientation is applied.
        channels: 1 (grey) or 3 (RGB).
        bits: 8 or 16, of the type the decoded pixels have; 16 for types that need a stated range.
        label, patient, group, split: what the file itself states, else None.
        conditions: other columns the file carries, by name.
    """

    height: int
    width: int
    channels: int
    bits: int
    label: str | None = field(default=None, repr=False)
    patient: str | None = field(default=None, repr=False)
    group: str | None = field(default=None, repr=False)
    split: str | None = field(default=None, repr=False)
    conditions: Mapping[str, str] = field(default_factory=lambda: NO_CONDITIONS, repr=False, hash=False)


class ImageFile(ABC):
    """One open file: how many images it holds, what they are, and their pixels.

    A context manager; `close` frees the file and whatever it keeps on disk.
    """

    one_subject: bool = False
    """True when several images of the file show one subject (pages of a TIFF), False when rows are independent."""

    apart: bool = False
    """True when a damaged image leaves the others whole (pages of a TIFF), False when all come from one stream."""

    refused: Sequence[tuple[str, str]] = ()
    """Images of the file that a format rule does not take while others are: what each is called, and the reason."""

    derived: int = 0
    """Reduced copies, masks and previews beside the images, made from them: they never count as images."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abstractmethod
    def frame(self, index: int) -> Frame:
        """What the headers say about image `index`, counted from 0."""

    @abstractmethod
    def read(self, index: int) -> Pixels:
        """Decode image `index` to `(h, w, c)` uint8 or uint16; raises Unreadable when it cannot be decoded."""

    def called(self, index: int) -> str:
        """What people call image `index` within the file, such as `page 2`; empty when it is the only one."""
        return f"image {index + 1}" if len(self) > 1 else ""

    def __iter__(self) -> Iterator[Pixels]:
        """Decode all images in order, each `(h, w, c)`, holding one at a time."""
        for index in range(len(self)):
            yield self.read(index)

    @abstractmethod
    def close(self) -> None:
        """Free the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Format(ABC):
    """One family of files; adding one means one new module and one line in `formats.py`."""

    extensions: tuple[str, ...] = ()
    """Lower-case file extensions with the dot."""

    @abstractmethod
    def open(self, path: Path, limits: Limits, reading: Reading | None = None) -> ImageFile:
        """Read the headers of a file; raises Unreadable with a reason when a format rule does not take it.

        Args:
            path: of the file.
            limits: what it may ask for.
            reading: what the user says of its columns and parts; nothing by default.
        """

"""PNG, JPEG and TIFF: grey or RGB, 8 or 16 bits per channel.

What is taken is decided from the header:

* grey of 1, 2, 4 or 8 bits (as 8 bits, full range), grey of 16 bits, RGB of 8 or 16 bits, palettes (as RGB);
* every page of a TIFF, as images of one subject; TIFF with inverted grey (white is zero) is turned the usual way;
* the first picture of a camera's MPO.

An original counts once: reduced copies and transparency masks among the pages of a TIFF (NewSubfileType, as pyramids
and cloud-optimised files have them), sub-directories, the further pictures of an MPO and the previews in EXIF are no
images. The orientation of EXIF and TIFF is applied; see `orientation.py`.

Unreadable, each with its reason: transparency, floating point, signed or 32-bit values, CMYK and other colour spaces,
animations, other bit depths. A page that is not taken leaves the other pages whole.
"""

from __future__ import annotations

import struct
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin
from PIL.MpoImagePlugin import MpoImageFile

from veilray.images import orientation
from veilray.images.base import Format, Frame, Limits, check_size
from veilray.images.base import ImageFile as BaseImageFile
from veilray.images.intensity import Pixels
from veilray.images.reading import Reading
from veilray.images.unreadable import DAMAGED, Unreadable, refusal

__all__ = ["RasterFormat"]

# Pillow's decoded mode -> (channels, bits).
_ACCEPTED = {
    "1": (1, 8),
    "L": (1, 8),
    "P": (3, 8),
    "RGB": (3, 8),
    "I;16": (1, 16),
    "I;16L": (1, 16),
    "I;16B": (1, 16),
}
_TRANSPARENT = "transparency must be absent: save the image without an alpha channel"
_REFUSED = {
    "F": "values must be whole numbers of 8 or 16 bits, got floating point",
    "I": "values must be unsigned, of 8 or 16 bits, got signed or 32 bits",
    **dict.fromkeys(("LA", "La", "PA", "RGBA", "RGBa", "RGBX"), _TRANSPARENT),
}
# TIFF 6.0: tag numbers and the values used here.
_NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _WIDTH, _LENGTH = 254, 255, 256, 257
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR, _SAMPLE_FORMAT = 258, 262, 284, 339
_WHITE_IS_ZERO, _SEPARATE_PLANES, _UNSIGNED = 0, 2, 1
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2
_ALL_DERIVED = "file must hold a picture of full resolution, got reduced copies or masks alone"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# Pillow has no mode for RGB of 16 bits: it unpacks the high byte of each value. Read once more in the other byte
# order, the same unpacker gives the low byte.
_OTHER_ORDER = {
    "RGB;16L": "RGB;16B",
    "RGB;16B": "RGB;16L",
    "RGB;16N": "RGB;16B" if sys.byteorder == "little" else "RGB;16L",
}


class RasterFormat(Format):
    """PNG, JPEG and TIFF, told apart by content, not by extension."""

    extensions = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

    def open(self, path: Path, limits: Limits, reading: Reading | None = None) -> RasterFile:
        """Read the headers of every page.

        Raises:
            Unreadable: the file is damaged, of a mode that is not taken, or above the limits.
        """
        if ImageFile.LOAD_TRUNCATED_IMAGES:
            raise ValueError(
                "PIL.ImageFile.LOAD_TRUNCATED_IMAGES must be False, got True: "
                "a truncated file would pass as a whole one"
            )
        del reading  # a picture has no columns
        return RasterFile(path, limits)


class RasterFile(BaseImageFile):
    """One open PNG, JPEG or TIFF."""

    one_subject = True
    apart = True

    def __init__(self, path: Path, limits: Limits) -> None:
        self._frames: list[Frame] = []
        self._pages: list[int] = []
        self.refused: list[tuple[str, str]] = []
        try:
            self._file = path.open("rb")
        except DAMAGED as error:
            raise refusal(error) from None
        try:
            with _decoding():
                self._depth = _png_colour_depth(self._file.read(26))
                self._image = self._load_header()
                self._orientation = self._stated_orientation()
            self._survey(limits)
        except BaseException:
            self._file.close()
            raise

    def __len__(self) -> int:
        return len(self._frames)

    def frame(self, index: int) -> Frame:
        """What the header of page `index` says."""
        return self._frames[index]

    def called(self, index: int) -> str:
        """`page 2`, counting every page of the file from 1 as viewers do; empty when there is one."""
        return f"page {self._pages[index] + 1}" if len(self) + len(self.refused) > 1 else ""

    def read(self, index: int) -> Pixels:
        """Decode page `index` to `(h, w, c)` uint8 or uint16; raises Unreadable when it is damaged."""
        frame = self._frames[index]
        with _decoding():
            if (frame.channels, frame.bits) == (3, 16):
                pixels = self._read_wide_colour(self._pages[index])
            else:
                self._image = self._image if _can_seek(self._image) else self._load_header()
                _go_to(self._image, self._pages[index])
                pixels = _to_array(self._image)
            pixels = orientation.turn(pixels, self._orientation)
            if pixels.shape != (frame.height, frame.width, frame.channels):
                raise Unreadable("cannot be decoded: pixels do not have the size the header states")
        return pixels

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _load_header(self) -> Image.Image:
        self._file.seek(0)
        image = Image.open(self._file, formats=("PNG", "JPEG", "TIFF"))
        many = isinstance(image, TiffImagePlugin.TiffImageFile | MpoImageFile)
        if not many and getattr(image, "n_frames", 1) != 1:
            raise Unreadable("file must hold one picture, got an animation or several pictures")
        return image

    def _stated_orientation(self) -> int:
        """What is still to be turned once a picture is decoded: Pillow turns the pages of a TIFF itself."""
        if isinstance(self._image, TiffImagePlugin.TiffImageFile):
            return orientation.AS_STORED
        if self._image.format == "PNG":
            return orientation.in_png(self._file)
        return orientation.in_exif(self._image.info.get("exif", b""))

    def _survey(self, limits: Limits) -> None:
        """Describe every page; those that are not taken are noted beside the others."""
        page, unreached = 0, 0
        while unreached < 2:
            try:
                if not self._reach(page):
                    break
            except Unreadable as error:
                if _is_derived(self._image):  # a mask, of a kind that Pillow does not open
                    self.derived += 1
                    unreached = 0
                else:
                    self.refused.append((f"page {page + 1}", str(error)))
                    unreached += 1
                page += 1
                continue
            if page == limits.max_images:
                raise Unreadable(f"pages must be at most {limits.max_images}, got more")
            unreached = 0
            if _is_derived(self._image):
                self.derived += 1
            else:
                self._take(page, limits)
            page += 1
        if unreached == 2:  # the way to the next page is lost
            first, reason = self.refused[-2]
            self.refused[-2:] = [(f"{first} and what follows", reason)]
        if isinstance(self._image, MpoImageFile):
            self.derived = self._image.n_frames - 1
        if not self._frames:
            raise Unreadable(self.refused[0][1] if self.refused else _ALL_DERIVED)

    def _take(self, page: int, limits: Limits) -> None:
        try:
            with _decoding():
                self._frames.append(self._describe(self._image, limits))
        except Unreadable as error:
            self.refused.append((f"page {page + 1}", str(error)))
        else:
            self._pages.append(page)

    def _reach(self, page: int) -> bool:
        """Go to a page; False when there is none."""
        if page and not isinstance(self._image, TiffImagePlugin.TiffImageFile):
            return False
        with _decoding():
            try:
                _go_to(self._image, page)
            except EOFError:
                return False
        return True

    def _describe(self, image: Any, limits: Limits) -> Frame:
        width, height = image.size
        turned = self._orientation
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            # Not image.size: whether it is turned already depends on Pillow's version.
            width, height = image.tag_v2[_WIDTH], image.tag_v2[_LENGTH]
            turned = orientation.known(image.tag_v2.get(orientation.TAG))
        if orientation.turns_sideways(turned):
            width, height = height, width
        check_size(height, width, limits)
        if image.mode not in _ACCEPTED:
            raise Unreadable(_REFUSED.get(image.mode, f"colour must be grey, palette or RGB, got {image.mode}"))
        if "transparency" in image.info:
            raise Unreadable(_TRANSPARENT)
        channels, bits = _ACCEPTED[image.mode]
        depths: tuple[int, ...] = (self._depth,)
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            depths = _tiff_depths(image)
        if image.mode == "RGB" and max(depths) == 16:
            bits = 16
            if not all(_raw_mode(tile) in _OTHER_ORDER for tile in image.tile):
                raise Unreadable("RGB of 16 bits must be stored pixel by pixel, got separate planes or another layout")
        return Frame(height=height, width=width, channels=channels, bits=bits)

    def _read_wide_colour(self, index: int) -> Pixels:
        high, low = (self._unpack(index, swap).astype(np.uint16) for swap in (False, True))
        joined: Pixels = (high << np.uint16(8)) | low
        return joined

    def _unpack(self, index: int, swap: bool) -> Pixels:
        image: Any = self._load_header()
        _go_to(image, index)
        if swap:
            image.tile = [_with_raw_mode(tile, _OTHER_ORDER[_raw_mode(tile)]) for tile in image.tile]
        return np.array(image, dtype=np.uint8)


@contextmanager
def _decoding() -> Iterator[None]:
    """Decode with Pillow: its warnings about size become refusals, its other warnings about metadata are dropped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            yield
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise Unreadable("rows x columns must be within the limit, got a header that claims far more") from None
        except DAMAGED as error:
            raise refusal(error) from None


def _go_to(image: Image.Image, page: int) -> None:
    """Make a page the current one, without the orientation that XMP alone states: Pillow would turn a TIFF by it."""
    image.seek(page)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.info.pop("xmp", None) is not None:
        exif = image.getexif()  # made anew by every seek, from XMP too
        if orientation.TAG not in image.tag_v2:
            exif.pop(orientation.TAG, None)


def _is_derived(image: Image.Image) -> bool:
    """Whether a TIFF's page is a reduced copy of another, or its transparency mask."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    kind, old = (image.tag_v2.get(tag) for tag in (_NEW_SUBFILE_TYPE, _SUBFILE_TYPE))
    return old == _OLD_REDUCED or (isinstance(kind, int) and bool(kind & (_REDUCED | _MASK)))


def _can_seek(image: Image.Image) -> bool:
    # A TIFF goes back and forth between pages; PNG and JPEG are decoded once per opening.
    return isinstance(image, TiffImagePlugin.TiffImageFile)


def _png_colour_depth(head: bytes) -> int:
    """Bits per channel from a PNG's IHDR, 8 for anything else: Pillow does not tell them for RGB."""
    if not head.startswith(_PNG_SIGNATURE):
        return 8
    depth: int = struct.unpack(">B", head[24:25])[0]
    return depth


def _tiff_depths(image: TiffImagePlugin.TiffImageFile) -> tuple[int, ...]:
    formats = tuple(image.tag_v2.get(_SAMPLE_FORMAT, (_UNSIGNED,)))
    if any(kind != _UNSIGNED for kind in formats):
        raise Unreadable("values must be unsigned whole numbers, got a signed, floating point or undefined TIFF")
    depths = tuple(image.tag_v2.get(_BITS_PER_SAMPLE, (1,)))
    if any(depth not in (1, 2, 4, 8, 16) for depth in depths):
        raise Unreadable(f"bits per channel must be 1, 2, 4, 8 or 16, got {depths}")
    if image.tag_v2.get(_PLANAR) == _SEPARATE_PLANES and max(depths) == 16 and len(depths) > 1:
        raise Unreadable("RGB of 16 bits must be stored pixel by pixel, got separate planes")
    return depths


def _to_array(image: Image.Image) -> Pixels:
    """`(h, w, c)` of the page the image stands at."""
    mode = image.mode
    inverted = (
        isinstance(image, TiffImagePlugin.TiffImageFile)
        and mode.startswith("I;16")
        and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    )
    if mode.startswith("I;16"):
        wide = np.array(image).astype(np.uint16)
        if inverted:  # Pillow turns grey of 8 bits or fewer, and leaves 16 bits as stored
            wide = np.uint16(65535) - wide
        return wide[:, :, np.newaxis]
    if mode == "1":
        image = image.convert("L")
    elif mode == "P":
        image = image.convert("RGB")
    pixels = np.array(image, dtype=np.uint8)
    return pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels


def _raw_mode(tile: Any) -> str:
    args = tile[3]
    mode = args if isinstance(args, str) else args[0]
    return mode if isinstance(mode, str) else ""


def _with_raw_mode(tile: Any, mode: str) -> Any:
    args = tile[3]
    return tile._replace(args=mode if isinstance(args, str) else (mode, *args[1:]))

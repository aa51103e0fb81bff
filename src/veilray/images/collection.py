"""Collections: the images of a study, known by reference and read when wanted."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from veilray.images.base import ImageFile, Limits
from veilray.images.geometry import Geometry, fit, rule_in_words
from veilray.images.intensity import Pixels
from veilray.images.layout import Layout
from veilray.images.reading import Reading
from veilray.images.refs import ImageRef, numbered, refs_of
from veilray.images.selection import first_of_each_patient, of_split
from veilray.images.shelf import Shelf
from veilray.images.sources import Quarantined, Skipped, find_sources
from veilray.images.unreadable import Unreadable

__all__ = ["Collection", "EmptyCollectionError", "Progress", "Scan"]

_SHOWN = 3
_DERIVED = "reduced copies, masks and previews within files"
_CHANGED = "file must stay as it was when the collection was opened, got a changed one"

Progress = Callable[[int, int], None]
"""Called with how many images are done and how many there are."""


class EmptyCollectionError(ValueError):
    """No image is left. The message names the first files and their reasons, `quarantine` all of them."""

    def __init__(self, message: str, quarantine: Sequence[Quarantined]) -> None:
        super().__init__(message)
        self.quarantine = tuple(quarantine)


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan found.

    Attributes:
        images: images that can be released.
        quarantined: files and pages that cannot, found at opening or by the scan.
        duplicates: groups of images with equal pixels.
        surplus: images more than one of each such group.
        bits: images by bit depth; more than one entry means that depths are mixed.
        channels: images by number of channels.
        sizes: images by (height, width).
    """

    images: int
    quarantined: int
    duplicates: int
    surplus: int
    bits: Mapping[int, int]
    channels: Mapping[int, int]
    sizes: Mapping[tuple[int, int], int]


class Collection:
    """Images in a folder tree, an array file or a manifest.

    Files are opened when needed and few stay open; pixels are never kept. A collection and its subsets share their
    open files and their quarantine: close one and all are closed. Not for use by several threads or across a fork:
    for parallel reading, write the pixels with `to_memmap`.

    Example:
        >>> with Collection.open("study", layout="kermany") as study:        # doctest: +SKIP
        ...     study.scan()
        ...     for refs, pixels in study.batches(Geometry(64), 32):
        ...         ...
    """

    def __init__(
        self,
        refs: Sequence[ImageRef],
        quarantine: list[Quarantined],
        shelf: Shelf,
        skipped: Mapping[str, int] | None = None,
    ) -> None:
        self._refs = numbered(refs)
        self._shelf = shelf
        self.quarantine = quarantine
        self.skipped = dict(skipped or {})
        """What is no image and was passed over, counted by entry of the public list: previews that devices leave,
        hidden files, reduced copies and masks within files."""

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        layout: str | os.PathLike[str] | Layout = "folders",
        root: str | os.PathLike[str] | None = None,
        reading: Reading | None = None,
        limits: Limits | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Read the headers of every file; no pixel is decoded (see `scan`).

        What a file itself states (columns of an `.npz`) comes before what its path or manifest row says.

        Args:
            path: a folder tree, an `.npz`, `.npy` or single image, or a `.csv` or `.parquet` manifest.
            layout: for a folder, how paths are read: a name that ships, a `.toml` file, or a `Layout`.
            root: for a manifest, the folder its paths are relative to and must stay in; its own by default.
            reading: everything that can be said of how records are read, in place of `layout` and `root`.
            limits: what one file may ask for.
            progress: called after each file.

        Raises:
            ValueError: the path, layout or manifest cannot be used. EmptyCollectionError, a ValueError, when no image
                is left; it holds the quarantine.
            ImportError: a `.parquet` manifest without `pip install "veilray[tables]"`.
        """
        limits = limits if limits is not None else Limits()
        if reading is not None and (layout != "folders" or root is not None):
            raise ValueError("layout and root must be given within reading, got them beside it")
        said = Reading(layout=layout, root=root) if reading is None else reading
        found = list(find_sources(Path(path), said, limits))
        shelf = Shelf(limits, said)
        quarantine: list[Quarantined] = []
        skipped: Counter[str] = Counter()
        elsewhere: set[str] = set()
        refs: list[ImageRef] = []
        for done, entry in enumerate(found, start=1):
            if isinstance(entry, Quarantined):
                quarantine.append(entry)
            elif isinstance(entry, Skipped):
                skipped[entry.entry] += 1
            elif not entry.is_of(said.split):
                elsewhere.add(str(entry.facts.split))
            else:
                try:
                    shelf.place(entry.name, entry.path)
                    file = shelf.take(entry.name)
                    refs.extend(refs_of(entry, file))
                    quarantine += [Quarantined(f"{entry.name}, {part}", reason) for part, reason in file.refused]
                    if file.derived:
                        skipped[_DERIVED] += file.derived
                except Unreadable as error:
                    quarantine.append(Quarantined(entry.name, str(error)))
                finally:
                    shelf.put_back(entry.name)
            if progress is not None:
                progress(done, len(found))
        try:
            if not refs and not elsewhere:
                raise _empty(quarantine)
            refs = first_of_each_patient(of_split(refs, said.split, elsewhere), said.images_per_patient)
        except ValueError:
            shelf.close()
            raise
        return cls(refs, quarantine, shelf, skipped)

    def __len__(self) -> int:
        return len(self._refs)

    def __repr__(self) -> str:
        return f"Collection({len(self)} images, {len(self.quarantine)} files in quarantine)"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all files and erase temporary ones. Refs stay; pixels can no longer be read."""
        self._shelf.close()

    @property
    def refs(self) -> Sequence[ImageRef]:
        """The images; `refs[i].index == i`."""
        return self._refs

    @property
    def reading(self) -> Reading:
        """How the records were read."""
        return self._shelf.reading

    @property
    def geometry_rule(self) -> str:
        """The public rule that brings each image to the model, in words, with the intensity rule that was stated."""
        return rule_in_words(self.reading.intensity)

    @property
    def labels(self) -> tuple[str, ...]:
        """The distinct labels, sorted."""
        return tuple(sorted({ref.label for ref in self._refs if ref.label is not None}))

    @property
    def condition_names(self) -> tuple[str, ...]:
        """The names of all conditions, sorted: each needs a policy in a release."""
        return tuple(sorted({name for ref in self._refs for name in ref.conditions}))

    def patients(self) -> dict[str, int]:
        """Images of each known patient, in order of first appearance; `unidentified` counts the others."""
        return dict(Counter(ref.patient for ref in self._refs if ref.patient is not None))

    @property
    def unidentified(self) -> int:
        """Images of which nothing says whose they are."""
        return sum(ref.patient is None for ref in self._refs)

    def scan(self, progress: Progress | None = None) -> Scan:
        """Decode every image once, by format rules that never look at pixel values, before anything is released.

        A page that does not decode is put in quarantine alone, an array file with all its images, since they come from
        one stream. The remaining refs are numbered anew: take indices after the scan. Equal pixels (same shape, type
        and values) are found by SHA-256.

        Args:
            progress: called after each image.

        Raises:
            EmptyCollectionError: no image is left.
        """
        by_source: dict[str, list[ImageRef]] = {}
        for ref in self._refs:
            by_source.setdefault(ref.source, []).append(ref)
        total, done = len(self._refs), 0
        damaged: set[int] = set()
        for source, refs in by_source.items():
            try:
                for ref, pixels in self._decode(source, refs):
                    if isinstance(pixels, Quarantined):
                        damaged.add(ref.index)
                        self.quarantine.append(pixels)
                    else:
                        self._shelf.digests[source, ref.frame] = _digest(pixels)
                    done += 1
                    if progress is not None:
                        progress(done, total)
            except Unreadable as error:
                damaged.update(ref.index for ref in refs)
                self.quarantine.append(Quarantined(source, str(error)))
            finally:
                self._shelf.put_back(source)
        if damaged:
            self._refs = numbered([ref for ref in self._refs if ref.index not in damaged])
        if not self._refs:
            raise _empty(self.quarantine)
        groups = self.duplicates
        return Scan(
            images=len(self._refs),
            quarantined=len(self.quarantine),
            duplicates=len(groups),
            surplus=sum(len(group) - 1 for group in groups),
            bits=dict(Counter(ref.bits for ref in self._refs)),
            channels=dict(Counter(ref.channels for ref in self._refs)),
            sizes=dict(Counter((ref.height, ref.width) for ref in self._refs)),
        )

    @property
    def duplicates(self) -> tuple[tuple[int, ...], ...]:
        """Groups of two or more indices whose images have equal pixels; raises ValueError before `scan`."""
        groups: dict[bytes, list[int]] = {}
        for index, content in enumerate(self.contents):
            groups.setdefault(content, []).append(index)
        return tuple(tuple(group) for group in groups.values() if len(group) > 1)

    @property
    def contents(self) -> tuple[bytes, ...]:
        """The SHA-256 of each image's pixels as its source has them; raises ValueError before `scan`."""
        found = tuple(self._shelf.digests.get((ref.source, ref.frame)) for ref in self._refs)
        if None in found:
            raise ValueError("collection must be scanned before its contents are known: call scan()")
        return tuple(content for content in found if content is not None)

    @property
    def scanned(self) -> bool:
        """Whether every image was decoded once; see `scan`."""
        return all((ref.source, ref.frame) in self._shelf.digests for ref in self._refs)

    def without_duplicates(self) -> Self:
        """The first image of each group of equal ones, and all others; raises ValueError before `scan`."""
        surplus = {index for group in self.duplicates for index in group[1:]}
        return self.subset(lambda ref: ref.index not in surplus)

    def read(self, ref: ImageRef, geometry: Geometry) -> Pixels:
        """One image as the model sees it: `(c, h, w)` uint8 or uint16; raises Unreadable when it no longer decodes."""
        return fit(self.reading.intensity.apply(self._shelf.take(ref.source).read(ref.frame)), geometry)

    def read_original(self, ref: ImageRef) -> Pixels:
        """One image as its source has it, upright: `(c, h, w)` stored values; raises Unreadable when it no longer
        decodes."""
        return np.ascontiguousarray(np.moveaxis(self._shelf.take(ref.source).read(ref.frame), 2, 0))

    def batches(
        self, geometry: Geometry, batch_size: int, indices: Iterable[int] | None = None
    ) -> Iterator[tuple[list[ImageRef], Pixels]]:
        """Images as the model sees them, a batch at a time, in any order.

        Args:
            geometry: what the model sees.
            batch_size: images per batch; the last may be smaller.
            indices: positions in `refs`, in the order wanted; all in order by default.

        Yields:
            The refs and their pixels `(b, c, h, w)` uint8 or uint16, a new array each time.

        Raises:
            ValueError: batch_size below 1 or an index out of range. Unreadable when a file no longer decodes.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        return self._batches(geometry, batch_size, range(len(self)) if indices is None else indices)

    def subset(self, chosen: Callable[[ImageRef], bool] | Iterable[int]) -> Self:
        """The images that a predicate takes, or those at the given indices, numbered anew; may be empty.

        Raises:
            ValueError: an index out of range or given twice.
        """
        if callable(chosen):
            refs = [ref for ref in self._refs if chosen(ref)]
        else:
            indices = [int(index) for index in chosen]
            if len(set(indices)) != len(indices):
                raise ValueError("indices must be distinct, got one twice")
            refs = [self._at(index) for index in indices]
        return type(self)(refs, self.quarantine, self._shelf, self.skipped)

    def select(self, *, split: str | None = None, label: str | None = None, **conditions: str) -> Self:
        """The images with this split, label and conditions; what is not given is not asked for."""

        def wanted(ref: ImageRef) -> bool:
            return (
                (split is None or ref.split == split)
                and (label is None or ref.label == label)
                and all(ref.conditions.get(name) == value for name, value in conditions.items())
            )

        return self.subset(wanted)

    def to_memmap(
        self, geometry: Geometry, folder: str | os.PathLike[str], progress: Progress | None = None
    ) -> NDArray[Any]:
        """Write all images as the model sees them to `pixels.npy` and map it, so that training needs no memory.

        Args:
            geometry: what the model sees.
            folder: an existing folder; a `pixels.npy` there is replaced. The file is readable by its owner only.
            progress: called after each batch.

        Returns:
            `(n, c, h, w)` uint8 or uint16, read-only, on disk; row i is `refs[i]`.
        """
        target = Path(folder) / "pixels.npy"
        partial = target.with_name(f".pixels.{os.getpid()}.npy")
        header = {"descr": geometry.dtype.str, "fortran_order": False, "shape": (len(self), *geometry.shape)}
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                done = 0
                for refs, pixels in self.batches(geometry, max(1, 2**22 // geometry.dimension)):
                    file.write(pixels.tobytes())
                    done += len(refs)
                    if progress is not None:
                        progress(done, len(self))
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        mapped: NDArray[Any] = np.load(target, mmap_mode="r", allow_pickle=False)
        return mapped

    def _batches(
        self, geometry: Geometry, batch_size: int, indices: Iterable[int]
    ) -> Iterator[tuple[list[ImageRef], Pixels]]:
        refs: list[ImageRef] = []
        for index in indices:
            refs.append(self._at(int(index)))
            if len(refs) == batch_size:
                yield refs, self._stack(refs, geometry)
                refs = []
        if refs:
            yield refs, self._stack(refs, geometry)

    def _stack(self, refs: Sequence[ImageRef], geometry: Geometry) -> Pixels:
        pixels: Pixels = np.empty((len(refs), *geometry.shape), dtype=geometry.dtype)
        for row, ref in enumerate(refs):
            pixels[row] = self.read(ref, geometry)
        return pixels

    def _at(self, index: int) -> ImageRef:
        if not 0 <= index < len(self._refs):
            raise ValueError(f"index must be from 0 to {len(self._refs) - 1}, got {index}")
        return self._refs[index]

    def _decode(self, source: str, refs: Sequence[ImageRef]) -> Iterator[tuple[ImageRef, NDArray[Any] | Quarantined]]:
        """The images of one file in the file's order; those that do not decode alone are given as their quarantine.

        Images of one stream are all decoded, even when only some are in `refs`.
        """
        wanted = {ref.frame: ref for ref in refs}
        file = self._shelf.take(source)
        if file.apart:
            yield from ((ref, _read_apart(file, ref)) for ref in refs)
            return
        for index, pixels in enumerate(file):
            if index in wanted:
                _check_unchanged(pixels, wanted[index])
                yield wanted.pop(index), pixels
        if wanted:
            raise Unreadable(_CHANGED)


def _read_apart(file: ImageFile, ref: ImageRef) -> NDArray[Any] | Quarantined:
    if ref.frame >= len(file):
        raise Unreadable(_CHANGED)
    try:
        pixels = file.read(ref.frame)
        _check_unchanged(pixels, ref)
    except Unreadable as error:
        part = file.called(ref.frame)
        return Quarantined(f"{ref.source}, {part}" if part else ref.source, str(error))
    return pixels


def _check_unchanged(pixels: NDArray[Any], ref: ImageRef) -> None:
    bits = 8 if pixels.dtype == np.uint8 else 16
    if pixels.shape != (ref.height, ref.width, ref.channels) or bits != ref.bits:
        raise Unreadable(_CHANGED)


def _digest(pixels: NDArray[Any]) -> bytes:
    shape = "x".join(map(str, pixels.shape))
    little = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    return hashlib.sha256(f"{shape} {little.dtype.str} ".encode() + little.tobytes()).digest()


def _empty(quarantine: Sequence[Quarantined]) -> EmptyCollectionError:
    cure = "point to a folder of PNG, JPEG or TIFF images, an .npz with images, or a manifest"
    if not quarantine:
        return EmptyCollectionError(f"collection must hold one image or more, got 0 (none found): {cure}", ())
    first: dict[str, Quarantined] = {}
    for entry in quarantine:
        first.setdefault(entry.reason, entry)
    shown = [f"{entry.source}: {entry.reason}" for entry in [*first.values()][:_SHOWN]]
    left = len(quarantine) - len(shown)
    files = "file is" if len(quarantine) == 1 else "files are"
    return EmptyCollectionError(
        f"collection must hold one image or more, got 0: {len(quarantine)} {files} in quarantine: "
        f"{'; '.join(shown)}{f'; and {left} more' if left else ''}. Mend them, or {cure}",
        quarantine,
    )

"""References: what a collection knows of an image without its pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from veilray.images.base import Frame, ImageFile
from veilray.images.geometry import Original
from veilray.images.layout import NO_CONDITIONS
from veilray.images.sources import Source
from veilray.text import normal_text, patient_key

__all__ = ["ImageRef", "numbered", "refs_of"]


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One image of a collection, without pixels. What names the source does not appear in its repr.

    Attributes:
        index: position in `Collection.refs`.
        source: the file, below the collection's root, with `/` between folders.
        frame: which image of the file, from 0.
        patient: key of the patient in the normal form of `veilray.text`, or None when nothing says who it is. Pages of
            one TIFF without a patient have none: a file is not a person. A split keeps them together all the same.
        group: key of the images that a split keeps together; an image without a patient is its own group.
        label, split: as stated by the file, its path or its manifest row, else None.
        conditions: other named facts.
        width, height, channels, bits: of the source.
    """

    index: int
    source: str = field(repr=False)
    frame: int = field(repr=False)
    patient: str | None = field(repr=False)
    group: str = field(repr=False)
    label: str | None = field(repr=False)
    split: str | None = field(repr=False)
    conditions: Mapping[str, str] = field(repr=False, hash=False)
    width: int
    height: int
    channels: int
    bits: int

    @property
    def original(self) -> Original:
        """The source's geometry, for `restore`."""
        return Original(self.height, self.width, self.channels, self.bits)


def refs_of(source: Source, file: ImageFile) -> Iterator[ImageRef]:
    """The images of one open file; the file's own word comes before its path's or its manifest row's."""
    shared = f"file:{source.name}" if file.one_subject and len(file) > 1 else None
    for index in range(len(file)):
        yield _ref(source, file.frame(index), index, shared)


def numbered(refs: Sequence[ImageRef]) -> tuple[ImageRef, ...]:
    """The same images with `refs[i].index == i`."""
    return tuple(ref if ref.index == index else replace(ref, index=index) for index, ref in enumerate(refs))


def _ref(source: Source, frame: Frame, index: int, shared: str | None) -> ImageRef:
    facts = source.facts
    stated = patient_key(frame.patient)
    patient = stated or patient_key(facts.patient)
    group = patient_key(frame.group) or stated or patient_key(facts.group) or patient
    if group is None:  # in normal form too: one file has one name on every machine
        group = normal_text(shared or f"image:{source.name}#{index}")
    conditions = {**facts.conditions, **frame.conditions} or NO_CONDITIONS
    return ImageRef(
        index=0,
        source=source.name,
        frame=index,
        patient=patient,
        group=group,
        label=_text(frame.label) or _text(facts.label),
        split=_text(frame.split) or _text(facts.split),
        conditions=conditions,
        width=frame.width,
        height=frame.height,
        channels=frame.channels,
        bits=frame.bits,
    )


def _text(value: str | None) -> str | None:
    return None if value is None else normal_text(value) or None

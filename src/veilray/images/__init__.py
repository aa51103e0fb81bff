"""Pictures in and out of files; knows formats and geometry, nothing of privacy."""

from __future__ import annotations

from veilray.images.base import Format, Frame, ImageFile, Limits
from veilray.images.collection import Collection, EmptyCollectionError, Progress, Scan
from veilray.images.formats import FORMATS
from veilray.images.geometry import RULE, Geometry, Original, fit, restore, rule_in_words
from veilray.images.intensity import FULL_RANGE, IntensityRule, Pixels, parse_range
from veilray.images.layout import Facts, Layout, layouts, load_layout, parse_layout
from veilray.images.manifest import manifest_root, read_manifest, write_manifest
from veilray.images.png import encode_png, write_image
from veilray.images.reading import Reading
from veilray.images.refs import ImageRef
from veilray.images.sources import Quarantined
from veilray.images.split import hash_fraction, hash_half, split_by_patient
from veilray.images.unreadable import Unreadable

__all__ = [
    "FORMATS",
    "FULL_RANGE",
    "RULE",
    "Collection",
    "EmptyCollectionError",
    "Facts",
    "Format",
    "Frame",
    "Geometry",
    "ImageFile",
    "ImageRef",
    "IntensityRule",
    "Layout",
    "Limits",
    "Original",
    "Pixels",
    "Progress",
    "Quarantined",
    "Reading",
    "Scan",
    "Unreadable",
    "encode_png",
    "fit",
    "hash_fraction",
    "hash_half",
    "layouts",
    "load_layout",
    "manifest_root",
    "parse_layout",
    "parse_range",
    "read_manifest",
    "restore",
    "rule_in_words",
    "split_by_patient",
    "write_image",
    "write_manifest",
]

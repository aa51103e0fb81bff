"""Mechanisms that are broken on purpose, each in one way, to show that the audit would find it.

Never for a release: nothing in `veilray.methods` or `veilray.privacy` may import this (import-linter sees to it).
"""

from veilray.evaluation.audit.gallery import bounds, directions, noise, pipelines
from veilray.evaluation.audit.gallery.bounds import BatchMatrixClip
from veilray.evaluation.audit.gallery.entry import GALLERY, Entry, SoundLaplace
from veilray.evaluation.audit.gallery.pipelines import RandomisedLabel, RandomisedNumber

__all__ = [
    "GALLERY",
    "BatchMatrixClip",
    "Entry",
    "RandomisedLabel",
    "RandomisedNumber",
    "SoundLaplace",
    "bounds",
    "directions",
    "noise",
    "pipelines",
]

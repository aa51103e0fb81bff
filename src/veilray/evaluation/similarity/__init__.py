"""Similarity: how much released images resemble real ones, on features that need no download."""

from veilray.evaluation.similarity.density_coverage import NEIGHBOURS, DensityCoverage, density_coverage
from veilray.evaluation.similarity.kid import KID_OWN_FEATURES, kid
from veilray.evaluation.similarity.own_features import OWN_FEATURES, own_features

__all__ = [
    "KID_OWN_FEATURES",
    "NEIGHBOURS",
    "OWN_FEATURES",
    "DensityCoverage",
    "density_coverage",
    "kid",
    "own_features",
]

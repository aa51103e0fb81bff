"""Broken bounds: none at all, half the sensitivity, one for the whole batch, or a refusal instead of one."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from veilray.evaluation.audit.confidence import Limit
from veilray.evaluation.audit.gallery.entry import SoundLaplace, entry
from veilray.evaluation.audit.pairs import WORST, Pair, latent_pairs
from veilray.evaluation.audit.subject import Subject
from veilray.methods.baselines import published_clip, published_radius
from veilray.privacy import Entropy
from veilray.privacy.bounds import GridBound
from veilray.privacy.mechanisms.base import Floats

__all__ = ["BatchMatrixClip"]


@entry("unclipped", "each element", "last element flipped / projection")
class Unclipped(SoundLaplace):
    """The noise is right for a box that nobody enforces."""

    def bound(self, rows: Floats) -> Floats:
        finite = np.where(np.isfinite(rows).all(axis=1, keepdims=True), rows, 0.0)
        return np.asarray(np.rint(finite * 256))


@entry("r for 2r", "one axis / likelihood")
class RadiusForDiameter(SoundLaplace):
    """The sensitivity of a ball of radius r is taken for r; two rows in it differ by 2r."""

    def __init__(self) -> None:
        super().__init__()
        self.grid = GridBound("l1-ball", 3 * 256, 8, self.dimension)
        self.scale = Fraction(self.grid.size) / self.epsilon

    def subject(self, name: str = "") -> Subject:
        sound = super().subject(name)
        limit = Limit("epsilon", float(self.epsilon))

        def log_ratio(y: Floats, a: Floats, b: Floats) -> Floats:
            first, second = self.grid.apply(a) / 256, self.grid.apply(b) / 256
            distances = np.abs(y - second).sum(axis=1) - np.abs(y - first).sum(axis=1)
            return np.asarray(distances / float(2 * self.scale / 256))

        pairs = latent_pairs(self.dimension, limit, None)
        return replace(sound, limit=limit, element=None, pairs=pairs, log_ratio=log_ratio)


@entry("batch-matrix clip", "batch independence", "worst case / likelihood")
class BatchMatrixClip(SoundLaplace):
    """CADP's published clip: one matrix norm for the batch, radius min(epsilon/2, 4), scale radius/epsilon.

    Toelle et al. 2022. The matrix norm of order 1 is the largest *column* sum, so of a batch of one image it bounds
    each element by r, not their sum: two images differ by 2 r d in the L1 norm: epsilon is 2 d times the claim.
    """

    def __init__(self) -> None:
        super().__init__()
        self.radius = published_radius(float(self.epsilon))
        self.scale = Fraction(self.radius) * 256 / self.epsilon

    @property
    def true_epsilon(self) -> float:
        """2 r d / scale."""
        return 2 * self.radius * self.dimension / (float(self.scale) / 256)

    def bound(self, rows: Floats) -> Floats:
        return np.asarray(self.bound_batches(rows[None])[0])

    def bound_batches(self, batches: Floats) -> Floats:
        """The published clip of each batch of `(b, n, d)`."""
        finite = np.where(np.isfinite(batches).all(axis=2, keepdims=True), batches, 0.0)
        return np.asarray(np.rint(published_clip(finite, self.radius) * 256))

    def alone(self, rows: Floats, entropy: Entropy, record: int) -> Floats:
        """Each `record` rows as a batch of their own."""
        q = self.bound_batches(rows.reshape(-1, record, self.dimension)).reshape(rows.shape)
        return np.asarray((q + self.noise((len(rows), self.dimension), entropy) + 0.5) / 256)

    def subject(self, name: str = "") -> Subject:
        sound = super().subject(name)
        limit = Limit("epsilon", float(self.epsilon))

        def log_ratio(y: Floats, a: Floats, b: Floats) -> Floats:
            first, second = self.bound(a) / 256, self.bound(b) / 256
            distances = np.abs(y - second).sum(axis=1) - np.abs(y - first).sum(axis=1)
            return np.asarray(distances / (float(self.scale) / 256))

        corner = np.full((1, self.dimension), 1e6)
        worst = Pair(WORST, corner, -corner, limit, "marginal")
        pairs = (worst, *latent_pairs(self.dimension, limit, None)[1:])
        return replace(sound, limit=limit, element=None, pairs=pairs, log_ratio=log_ratio, alone=self.alone)


@entry("zero-latent refusal", "unusual rows are released")
class ZeroLatentRefusal(SoundLaplace):
    """A latent that is zero or not finite is refused, which tells that it was."""

    def release(self, rows: Floats, entropy: Entropy) -> Floats:
        if not np.isfinite(rows).all() or not rows.any(axis=1).all():
            raise ValueError("latent must be finite and not zero, got another one")
        return super().release(rows, entropy)

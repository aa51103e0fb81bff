"""What a gallery entry is, and the sound mechanism that most of them break in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from veilray.evaluation.audit.confidence import Limit
from veilray.evaluation.audit.pairs import latent_pairs, unusual_rows
from veilray.evaluation.audit.subject import Subject
from veilray.privacy import Entropy
from veilray.privacy.bounds import GridBound
from veilray.privacy.mechanisms.base import Floats, Integers
from veilray.privacy.samplers.discrete_laplace import DiscreteLaplace
from veilray.registry import Registry

__all__ = ["GALLERY", "Entry", "SoundLaplace", "entry"]

_GRID = 2**8


@dataclass(frozen=True)
class Entry:
    """One broken build.

    Attributes:
        story: what was done wrong, in one line.
        build: makes the subject, with what it *claims*.
        caught_by: tests that must fail it; others may.
        trials: of each side that are enough to catch it.
    """

    story: str
    build: Callable[[], Subject]
    caught_by: tuple[str, ...]
    trials: int


GALLERY: Registry[Entry] = Registry("gallery entry")
"""Broken on purpose, for tests of the audit alone: nothing that releases may import this package."""


def entry(name: str, *caught_by: str, trials: int = 10_000) -> Callable[[type], type]:
    """Register a class with a docstring and a `subject` method without arguments."""

    def add(broken: type) -> type:
        story = (broken.__doc__ or "").partition("\n")[0]
        GALLERY.register(name)(Entry(story, lambda: broken().subject(name), caught_by, trials))
        return broken

    return add


class SoundLaplace:
    """Laplace noise on the grid for a box of 3, epsilon 1/4 an element, nothing broken: the gallery's control."""

    dimension = 8
    epsilon = Fraction(1, 4)

    def __init__(self) -> None:
        self.grid = GridBound("box", 3 * _GRID, 8, self.dimension)
        self.scale = Fraction(2 * self.grid.size) / self.epsilon

    @cached_property
    def sampler(self) -> DiscreteLaplace:
        """Of the scale; made when first used, so that a broken build may change the scale before."""
        return DiscreteLaplace(self.scale, self.grid.size)

    def bound(self, rows: Floats) -> Floats:
        """Integers in the box, as float64."""
        return self.grid.apply(rows).astype(np.float64)

    def noise(self, shape: tuple[int, int], entropy: Entropy) -> Integers:
        """Discrete Laplace noise less 1/2, in grid units."""
        return self.sampler.sample(shape, entropy)

    def release(self, rows: Floats, entropy: Entropy) -> Floats:
        """Bound, add noise, back to the latent's units."""
        q = self.bound(rows)
        return np.asarray((q + self.noise((q.shape[0], q.shape[1]), entropy) + 0.5) / _GRID)

    def subject(self, name: str = "sound control") -> Subject:
        """The claim, which is the same whatever was broken."""
        image, one = Limit("epsilon", float(self.epsilon * self.dimension)), Limit("epsilon", float(self.epsilon))
        claimed = GridBound("box", 3 * _GRID, 8, self.dimension)
        t = float(2 * claimed.size / self.epsilon) / _GRID

        def log_ratio(y: Floats, a: Floats, b: Floats) -> Floats:
            first, second = claimed.apply(a) / _GRID, claimed.apply(b) / _GRID
            return np.asarray((np.abs(y - second) - np.abs(y - first)).sum(axis=1) / t)

        return Subject(
            name=name,
            dimension=self.dimension,
            release=self.release,
            limit=image,
            pairs=latent_pairs(self.dimension, image, one),
            unusual=unusual_rows(self.dimension),
            log_ratio=log_ratio,
            element=one,
            density=True,
        )

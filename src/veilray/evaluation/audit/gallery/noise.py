"""Broken noise: drawn in floats, too small, too few bits, shared, repeated, missing, or chosen by its look."""

from __future__ import annotations

from fractions import Fraction
from functools import cached_property

import numpy as np

from veilray.evaluation.audit.gallery.entry import SoundLaplace, entry
from veilray.privacy import Entropy, SeededEntropy
from veilray.privacy.mechanisms.base import Floats, Integers
from veilray.privacy.samplers.discrete_laplace import DiscreteLaplace


@entry("float noise", "zero against small / lattice", trials=100_000)
class FloatNoise(SoundLaplace):
    """float32 noise of 2^24 values is added to a float32 latent: most outputs are impossible under another input."""

    dimension = 1
    epsilon = Fraction(4)

    def release(self, rows: Floats, entropy: Entropy) -> Floats:
        z = (self.bound(rows) / 256).astype(np.float32)
        words = entropy.words(z.shape, np.uint32)
        uniform = (words >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)
        sign = np.where(words & np.uint32(1), np.float32(1), np.float32(-1))
        # 1 - uniform is in (0, 1]: the logarithm is finite.
        noise = np.float32(self.scale / 256) * -np.log(np.float32(1) - uniform) * sign
        return np.asarray(z + noise, dtype=np.float64)


@entry("halved scale", "each element")
class HalvedScale(SoundLaplace):
    """The scale is half of what the claim needs."""

    def __init__(self) -> None:
        super().__init__()
        self.scale /= 2


class _EighteenDigits(DiscreteLaplace):
    digits = 18  # a constant where it must grow with the scale


@entry("too few bits", "each element", trials=100_000)
class TooFewBits(SoundLaplace):
    """The noise has 18 binary digits at a scale that needs 25: its ends show the input."""

    dimension = 16
    epsilon = Fraction(1, 128)

    @cached_property
    def sampler(self) -> DiscreteLaplace:
        return _EighteenDigits(self.scale, self.grid.size)


@entry("kept coordinate", "each element", "noise has full rank")
class KeptCoordinate(SoundLaplace):
    """The last element is released without noise."""

    def noise(self, shape: tuple[int, int], entropy: Entropy) -> Integers:
        drawn = super().noise(shape, entropy)
        drawn[:, -1] = 0
        return drawn


@entry("pair-shared noise", "difference of two elements", "noise has full rank")
class PairSharedNoise(SoundLaplace):
    """Two elements share one noise: each alone looks right, their difference is in clear."""

    def noise(self, shape: tuple[int, int], entropy: Entropy) -> Integers:
        return np.repeat(super().noise((shape[0], shape[1] // 2), entropy), 2, axis=1)


@entry("coupled rows", "difference of two rows", "two rows, second flipped / quadratic")
class CoupledRows(SoundLaplace):
    """Two rows of a batch share one noise: each alone looks right, their difference is in clear."""

    def noise(self, shape: tuple[int, int], entropy: Entropy) -> Integers:
        return np.repeat(super().noise((-(-shape[0] // 2), shape[1]), entropy), 2, axis=0)[: shape[0]]


@entry("fixed seed", "two releases differ", "seed is used once", "fork")
class FixedSeed(SoundLaplace):
    """The noise comes from a seed in the code: the same for every call."""

    def noise(self, shape: tuple[int, int], entropy: Entropy) -> Integers:
        return super().noise(shape, SeededEntropy(0))


@entry("redraw if ugly", "draws independent of the input")
class RedrawIfUgly(SoundLaplace):
    """A release with a large element is drawn again: which ones are accepted follows the input."""

    def release(self, rows: Floats, entropy: Entropy) -> Floats:
        out = super().release(rows, entropy)
        ugly = np.abs(out).max(axis=1) > 60
        while ugly.any():
            out[ugly] = super().release(rows[ugly], entropy)
            ugly = np.abs(out).max(axis=1) > 60
        return out


@entry("memoised duplicates", "two releases differ", "two rows, second flipped / quadratic")
class MemoisedDuplicates(SoundLaplace):
    """An image that was seen before gets its old release: two equal records show that they are equal."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[bytes, Floats] = {}

    def release(self, rows: Floats, entropy: Entropy) -> Floats:
        fresh = super().release(rows, entropy)
        keys = [row.tobytes() for row in self.bound(rows)]
        return np.array([self._seen.setdefault(key, drawn) for key, drawn in zip(keys, fresh, strict=True)])

"""Broken directional releases: a constant across the direction, a loop until success, blocks that overspend or stay."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from veilray.evaluation.audit.confidence import Limit
from veilray.evaluation.audit.gallery.entry import entry
from veilray.evaluation.audit.pairs import latent_pairs, unusual_rows
from veilray.evaluation.audit.subject import Subject, subject_of
from veilray.privacy import Claim, Entropy
from veilray.privacy.fixed_length import fixed_length
from veilray.privacy.mechanisms.base import Floats, finite_rows
from veilray.privacy.mechanisms.blockwise import Block, Blockwise
from veilray.privacy.mechanisms.directional import Directional
from veilray.privacy.mechanisms.gaussian import Gaussian
from veilray.privacy.samplers.normal import normals

_GAMMA = 1.5
_EPSILON = 4.0
_UPPER = float(ndtr(-_GAMMA))
_KEEP = math.exp(_EPSILON) * _UPPER / (1 - _UPPER + math.exp(_EPSILON) * _UPPER)


class _Direction:
    dimension = 8

    def units(self, rows: Floats) -> Floats:
        """Each row scaled to length 1; the first axis for zero and non-finite rows."""
        finite = np.where(np.isfinite(rows).all(axis=1, keepdims=True), rows, 0.0)
        size = np.abs(finite).max(axis=1, keepdims=True)
        scaled = finite / np.where(size > 0, size, 1.0)
        scaled[size[:, 0] == 0, 0] = 1.0
        return np.asarray(scaled / np.linalg.norm(scaled, axis=1, keepdims=True))

    def upper(self, count: int, entropy: Entropy) -> NDArray[np.bool_]:
        return np.asarray(entropy.words(count, np.uint64) / 2.0**64 < _KEEP)

    def subject(self, name: str) -> Subject:
        limit = Limit("epsilon", _EPSILON)

        def log_ratio(y: Floats, a: Floats, b: Floats) -> Floats:
            high, low = math.log(_KEEP / _UPPER), math.log((1 - _KEEP) / (1 - _UPPER))
            first, second = (np.where(y @ self.units(x)[0] >= _GAMMA, high, low) for x in (a, b))
            return np.asarray(first - second)

        return Subject(
            name=name,
            dimension=self.dimension,
            release=self.release,
            limit=limit,
            pairs=latent_pairs(self.dimension, limit, None),
            unusual=unusual_rows(self.dimension),
            log_ratio=log_ratio,
            density=True,
        )

    def release(self, rows: Floats, entropy: Entropy) -> Floats:
        raise NotImplementedError


@entry("constant orthogonal part", "turned by 27 degrees / quadratic", "noise has full rank")
class ConstantOrthogonal(_Direction):
    """What lies across the direction is one constant: +v and -v look right, v and a turned v are told apart."""

    def release(self, rows: Floats, entropy: Entropy) -> Floats:
        units = self.units(rows)
        upper = self.upper(len(units), entropy)
        candidates = normals(entropy.words((len(units), 128), np.uint64))
        wanted = (candidates >= _GAMMA) == upper[:, None]
        a = np.take_along_axis(candidates, wanted.argmax(axis=1)[:, None], axis=1)
        constant = np.ones_like(units)
        across = constant - (constant * units).sum(axis=1, keepdims=True) * units
        return np.asarray(across + a * units)


@entry("open rejection loop", "draws independent of the input")
class OpenRejectionLoop(_Direction):
    """Candidates are drawn until one is on the chosen side, and the count can be seen: it tells the side."""

    def release(self, rows: Floats, entropy: Entropy) -> Floats:
        units = self.units(rows)
        upper = self.upper(len(units), entropy)
        out = np.zeros_like(units)
        waiting = np.ones(len(units), dtype=bool)
        while waiting.any():
            drawn = normals(entropy.words((int(waiting.sum()), self.dimension), np.uint64))
            out[waiting] = drawn
            sides = (out * units).sum(axis=1) >= _GAMMA
            waiting &= sides != upper
        return out


@entry("whole epsilon in each block", "worst case / likelihood", "equal support")
class WholeEpsilonInEachBlock:
    """Two blocks share a claim of 2, and each is made for all of it: one alone looks right, together they spend 4."""

    sizes = (3, 5)
    claim = Fraction(2)

    def subject(self, name: str) -> Subject:
        """The claim with its shares, and blocks that ignore them."""
        blocks = tuple(fixed_length(self.claim, "gaussian", k) for k in self.sizes)
        return replace(subject_of(Directional(self.claim, blocks, (Fraction(3, 2), Fraction(1, 2)))), name=name)


@entry("whole claim in each gaussian block", "worst case / likelihood")
class WholeClaimInEachGaussianBlock:
    """Two Gaussian blocks share (2, 1e-5), and each has noise for all of it: together they are told apart by mu sqrt 2.

    Dong, Roth and Su 2022: independent Gaussian releases are one, of mu^2 = sum mu_b^2. The guarantee states that mu^2
    truly, so an audit that took its limit from it would pass this build.
    """

    sizes = (3, 5)
    claim = Claim.of(2, "1e-5")

    def subject(self, name: str) -> Subject:
        """The claim with its shares, and blocks that ignore them."""
        first, second = (Gaussian.calibrate(self.claim, size) for size in self.sizes)
        blocks = Block(0, 3, Fraction(3, 2), first), Block(3, 8, Fraction(1, 2), second)
        return replace(subject_of(Blockwise(self.claim, "gaussian", blocks)), name=name)


@entry("kept block", "last element flipped / projection", "noise has full rank")
class KeptBlock:
    """A block without a share passes through as it is, in place of a draw of the prior: CADP's untouched dimensions.

    Toelle et al. 2022. By its own likelihood nothing is wrong: that block has no part in it.
    """

    claim = Claim.of(2)
    kept = 3

    def subject(self, name: str) -> Subject:
        """The claim of a sound blockwise release, its last block replaced by the record's own."""
        sound = Blockwise.calibrate(self.claim, 8, sizes=(5, self.kept), shares=(self.claim.epsilon, 0))

        def release(rows: Floats, entropy: Entropy) -> Floats:
            drawn = sound.release(rows, entropy)
            drawn[:, -self.kept :] = finite_rows(rows)[:, -self.kept :]
            return drawn

        return replace(subject_of(sound), name=name, release=release)

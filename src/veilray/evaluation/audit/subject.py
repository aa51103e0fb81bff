"""What is audited: anything that turns rows into released rows, with its claim and its worst pairs of inputs.

A registered mechanism becomes a subject by `subject_of`. The same form holds a whole pipeline, a release read back
from its quantised file, and every broken build of the gallery: the tests never ask what is inside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from veilray.evaluation.audit.confidence import Limit
from veilray.evaluation.audit.pairs import Pair, latent_pairs, level_pairs, unusual_rows
from veilray.privacy import MECHANISMS, Claim, Entropy, Guarantee, Mechanism, SeededEntropy
from veilray.privacy.calibration import gaussian_mu
from veilray.privacy.mechanisms.base import Floats
from veilray.privacy.samplers.normal import normals

__all__ = ["REFUSALS", "LogRatio", "Subject", "calibrated", "subject_of"]

LogRatio = Callable[[Floats, Floats, Floats], Floats]
"""log Pr[released | first] - log Pr[released | second] for `(n, d)`, `(1, d)`, `(1, d)`: `(n,)` nats, as claimed."""

REFUSALS = (ValueError, ArithmeticError, RuntimeError, LookupError)
"""What a mechanism that turns a row away raises."""

_CANDIDATES = 64
"""Size of the public candidate list of an audited selection."""


@dataclass(frozen=True)
class Subject:
    """Something that claims to be private.

    Attributes:
        name: what stands in the report.
        dimension: elements of an input row.
        release: `(n, d)` latent rows and an entropy to `(n, e)` float64 released rows; bounds the rows itself.
        limit: the claim for two records that differ in anything.
        pairs: the pairs of inputs to be told apart, each with its own limit.
        unusual: `(m, d)` rows that must be released like any other: zero, non-finite, far outside the clip.
        log_ratio: the *claimed* log likelihood ratio, the best statistic for an honest mechanism; None where unknown.
        element: the claim for one element, for mechanisms that bound and randomise each element by itself.
        alone: releases each `record` rows as a batch of their own, for a mechanism that looks at the whole batch: the
            batch of one record is where it leaks most. None where rows are independent by design.
        density: the noise has a density in every direction: its covariance has full rank.
    """

    name: str
    dimension: int
    release: Callable[[Floats, Entropy], Floats]
    limit: Limit
    pairs: tuple[Pair, ...]
    unusual: Floats
    log_ratio: LogRatio | None = None
    element: Limit | None = None
    alone: Callable[[Floats, Entropy, int], Floats] | None = None
    density: bool = False

    def draw(self, rows: Floats, entropy: Entropy, record: int = 1) -> Floats:
        """Release `(n, d)` rows, of which each `record` rows belong together."""
        released = self.release(rows, entropy) if self.alone is None else self.alone(rows, entropy, record)
        return np.asarray(released, dtype=np.float64)

    def refuses(self, rows: Floats) -> str:
        """Why `(n, d)` rows are turned away, or nothing."""
        try:
            released = self.release(rows, SeededEntropy("audit refusal"))
        except REFUSALS as error:
            return type(error).__name__
        return "" if len(released) == len(rows) else "a row was left out"


def subject_of(mechanism: Mechanism, claim: Claim | None = None) -> Subject:
    """A calibrated mechanism as a subject: limits from its claim, statistic from its `log_likelihood`.

    Args:
        mechanism: what is audited.
        claim: what was asked for. The guarantee of a sound mechanism repeats it; a broken one may state more, and is
            held to what was asked. Without it the stated claim is audited.
    """
    d = mechanism.dimension
    guarantee = mechanism.guarantee(d)
    limit, element = _limits(guarantee, claim)
    if mechanism.name == "randomised_response":
        levels = np.array([column[:2] for column in mechanism.levels], dtype=np.float64)  # type: ignore[attr-defined]
        pairs = level_pairs(levels, limit, element or limit)
        element = None  # its cells hold levels, not numbers that differences and sums are about
    else:
        pairs = latent_pairs(d, limit, element)
    return Subject(
        name=mechanism.name,
        dimension=d,
        release=mechanism.release,
        limit=limit,
        pairs=pairs,
        unusual=unusual_rows(d),
        log_ratio=lambda y, a, b: mechanism.log_likelihood(y, a) - mechanism.log_likelihood(y, b),
        element=element,
        density=_has_density(guarantee),
    )


def calibrated(name: str, claim: Claim, dimension: int, **options: Any) -> Mechanism:
    """A registered mechanism with the public options that an audit gives it, and `options` beside or instead of them.

    Raises:
        ValueError: for an unknown name, or a claim or options that the mechanism cannot keep.
    """
    return MECHANISMS[name].calibrate(claim, dimension, **_options(name, claim, dimension, options))


def _options(name: str, claim: Claim, dimension: int, given: dict[str, Any]) -> dict[str, Any]:
    """What a mechanism cannot do without, and what is given: the one table of special cases."""
    needed: dict[str, Any] = {}
    if name == "randomised_response":
        needed = {"levels": 2, "outside": 0}
    if name == "blockwise":
        # Three blocks as even as can be, of which the last is drawn from the prior; fewer where elements are few.
        count = min(3, max(dimension, 1))
        sizes = [dimension // count + (block < dimension % count) for block in range(count)]
        shares = ("1", "1 0", "3/4 1/4 0")[count - 1].split()
        needed = {"of": "directional", "sizes": sizes, "shares": [claim.epsilon * Fraction(share) for share in shares]}
    if "selection" in (name, given.get("of")):
        words = SeededEntropy("audit candidates").words((_CANDIDATES, dimension), np.uint64)
        needed["candidates"] = normals(words)
    return {**needed, **given}


def _has_density(guarantee: Guarantee) -> bool:
    """Whether the noise has a density in every direction; of blocks, where that of each block has."""
    if guarantee.bound.kind == "blocks":
        return guarantee.parameters["of"] in ("directional", "laplace", "gaussian")
    return guarantee.bound.kind not in ("index", "none")


def _limits(guarantee: Guarantee, asked: Claim | None) -> tuple[Limit, Limit | None]:
    """The claim for a whole record and, for a box or a category, for one element of it.

    Each limit follows from epsilon and delta of the claim alone, never from a parameter such as mu that the mechanism
    works out for itself: a build whose noise is too small would raise its own limit. Of Gaussian noise the limit is the
    mu at which the analytic curve has exactly that (epsilon, delta). It holds for Gaussian blocks too: together they
    are one Gaussian, of mu^2 = sum mu_b^2. What a Gaussian of that mu allows lies inside what (epsilon, delta) allows,
    so no build that breaks (epsilon, delta) by some event keeps mu at that event, Gaussian or not.
    """
    gaussian = "gaussian" in (guarantee.mechanism, guarantee.parameters.get("of"))
    whole = (asked.epsilon, asked.delta) if asked is not None and asked.unit == "image" else None
    image = _limit(*(whole or (guarantee.image_epsilon, guarantee.image_delta)), gaussian)
    if asked is not None and asked.unit == "element":
        return image, _limit(asked.epsilon, asked.delta, gaussian)
    if guarantee.element_epsilon is None or guarantee.bound.kind not in ("box", "none"):
        return image, None
    return image, _limit(guarantee.element_epsilon, guarantee.delta, gaussian)


def _limit(epsilon: Fraction, delta: Fraction, gaussian: bool) -> Limit:
    if gaussian and delta:
        return Limit("mu", float(gaussian_mu(epsilon, delta)))
    return Limit("epsilon", float(epsilon), float(delta))

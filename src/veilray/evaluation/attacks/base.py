"""The contract of an attack, what the code attacks look at, and the bound on which a build may fail."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from veilray.evaluation.audit.confidence import clopper_pearson_lower, decision_confidence
from veilray.evaluation.lines import Claimed
from veilray.evaluation.patients import patient_keys
from veilray.evaluation.result import AttackResult
from veilray.privacy import Guarantee, Mechanism, SeededEntropy
from veilray.privacy.mechanisms.base import Floats, Integers
from veilray.registry import Registry

__all__ = ["ATTACKS", "TESTS", "Attack", "ReleasedCodes", "decision_level", "lower_bound"]

TESTS = 100
"""Checks of one study that share the chance of 1e-6 that a correct build fails."""

Target = TypeVar("Target")


class Attack(ABC, Generic[Target]):
    """One attack with its protocol; its own parameters are fixed when it is made.

    `run` plays the same game three times: on the release, on the positive and on the negative control.
    """

    name: ClassVar[str]
    knowledge: ClassVar[str]
    """What the attacker knows: mechanism, weights, label, pairs, key."""

    @property
    @abstractmethod
    def protocol(self) -> str:
        """The game, in words, with its parameters."""

    @abstractmethod
    def run(self, target: Target, rng: np.random.Generator) -> AttackResult:
        """Attack `target`; `rng` chooses galleries, impostors and the noise of controls, never a release."""


ATTACKS: Registry[type[Attack[Any]]] = Registry("attack")


@dataclass(frozen=True)
class ReleasedCodes:
    """Released rows beside the rows that they came from: what an exact-likelihood attack looks at.

    Attributes:
        mechanism: what drew the releases; the attacker knows it.
        released: `(n, d)` as `mechanism.release` returned them, or `(m, n, d)` for m releases of each record.
        latent: `(n, d)`, row i the source of release i.
        labels: `(n,)` what is released in clear; None where nothing is.
        patients: `(n,)` patient keys; None where every record is a patient of its own.
        guarantee: the claim; the mechanism's own unless given. They differ where a build is broken.
        strong: the same mechanism with next to no noise, for the positive control; None: the raw codes are.

    Raises:
        ValueError: for shapes that do not fit.
    """

    mechanism: Mechanism
    released: Floats
    latent: Floats
    labels: NDArray[Any] | None = None
    patients: NDArray[Any] | None = None
    guarantee: Guarantee | None = None
    strong: Mechanism | None = None

    def __post_init__(self) -> None:
        if self.latent.ndim != 2 or not len(self.latent):
            raise ValueError(f"latent must be (n, d) with n at least 1, got shape {self.latent.shape}")
        if self.released.ndim not in (2, 3) or self.released.shape[-2:] != self.latent.shape:
            raise ValueError(
                f"released must be {self.latent.shape} or a stack of such, got shape {self.released.shape}"
            )
        for name, keys in (("labels", self.labels), ("patients", self.patients)):
            if keys is not None and keys.shape != (len(self.latent),):
                raise ValueError(f"{name} must be one for each of {len(self.latent)} rows, got shape {keys.shape}")

    @property
    def claimed(self) -> Claimed:
        """The claim for one release."""
        return Claimed.of(self.guarantee or self.mechanism.guarantee(self.latent.shape[1]))

    @property
    def stacked(self) -> Floats:
        """`(m, n, d)`: the releases of each record."""
        return self.released if self.released.ndim == 3 else self.released[None]

    @property
    def patient_keys(self) -> NDArray[Any]:
        """`(n,)` keys in normal form, the row number where none were given."""
        return np.arange(len(self.latent)) if self.patients is None else patient_keys(self.patients)

    def one_a_patient(self, rng: np.random.Generator) -> list[Integers]:
        """For each label the row numbers of one record a patient, in random order.

        With one record each, every record of a gallery is as likely as any other to be the one that was released:
        the line is for equally likely candidates.
        """
        labels = np.zeros(len(self.latent)) if self.labels is None else self.labels
        chosen = []
        for label in np.unique(labels):
            rows = rng.permutation(np.flatnonzero(labels == label))
            _, first = np.unique(self.patient_keys[rows], return_index=True)
            chosen.append(rng.permutation(rows[first]))
        return chosen

    def positive(self, rng: np.random.Generator) -> Scorer:
        """The positive control: fresh releases of the strong mechanism, or the raw codes by distance."""
        if self.strong is None:
            return Scorer(None, self.latent[None], self.latent)
        entropy = SeededEntropy(int(rng.integers(2**63)))
        drawn = [self.strong.release(self.latent, entropy) for _ in self.stacked]
        return Scorer(self.strong, np.stack(drawn), self.latent)

    def scorer(self) -> Scorer:
        """The release itself."""
        return Scorer(self.mechanism, self.stacked, self.latent)


@dataclass(frozen=True)
class Scorer:
    """How well a record explains the releases `(m, n, d)`: log likelihood in nats, summed over the m releases.

    Without a mechanism, minus the squared distance of two codes. Scores are rounded to 1e-9, so that equal likelihoods
    are ties however they were summed.
    """

    mechanism: Mechanism | None
    released: Floats
    latent: Floats

    def each(self, rows: Integers, candidates: Integers) -> Floats:
        """Release `rows[i]` under record `candidates[i]`, `(n,)`; one candidate may stand for all."""
        latent = self.latent[candidates]
        if self.mechanism is None:
            found = -((self.released[:, rows] - latent) ** 2).sum(axis=(0, 2))
        else:
            each = [self.mechanism.log_likelihood(release[rows], latent) for release in self.released]
            found = np.sum(each, axis=0)
        return np.asarray(np.round(found, 9), dtype=np.float64)

    def matrix(self, rows: Integers, candidates: Integers) -> Floats:
        """Every release of `rows` under every record of `candidates`, `(rows, candidates)`.

        One candidate at a time against all releases: a mechanism prepares what belongs to the record only once.
        """
        out = np.empty((len(rows), len(candidates)))
        for column in range(len(candidates)):
            out[:, column] = self.each(rows, candidates[column : column + 1])
        return out


def decision_level(tests: int) -> float:
    """Confidence of `lower_bound`: 1 - 1e-6 / tests."""
    return decision_confidence(tests)


def lower_bound(value: float, units: int, tests: int = TESTS) -> float:
    """Lower bound, at the confidence of a decision, of the true mean behind a score in [0, 1].

    For the mean of `units` independent numbers in [0, 1], not only of whole hits: ties give fractions, galleries are
    repeated. Bentkus (2004, Annals of Probability 32, "On Hoeffding's inequalities"): the chance that their sum reaches
    x is at most e times a binomial's, so the bound of Clopper and Pearson at e times the confidence is one for them. It
    rests on convex functions of the sum and so, by Hoeffding's (1963) average over blocks, holds for a mean over pairs
    too: an area under the ROC curve over releases has half as many units as releases.

    Raises:
        ValueError: for a value outside [0, 1] or fewer than 1 unit.
    """
    if not 0 <= value <= 1 or units < 1:
        raise ValueError(f"value must be in [0, 1], of at least 1 unit, got {value} of {units}")
    error = 1 - decision_level(tests)
    return clopper_pearson_lower(math.floor(value * units), units, 1 - error / math.e)

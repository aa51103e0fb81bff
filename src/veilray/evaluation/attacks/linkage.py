"""Re-identification by the exact likelihood: which of N records with the same label is this the release of?

The attacker knows the mechanism and every candidate's code, and names the candidate that explains the release best:
no attacker who treats the candidates alike does better (Bayes). Encoder, decoder and quantiser are public and come
after, so a picture of the release holds no more than the released code.

Galleries partition the patients of a label, one record each, and every record of a gallery is attacked in turn. Each is
then exactly as likely as the others to be the right one, as the line asks. Where several explain a release equally well
the guess is right with one over their number: mechanisms that release one of two sides, or a code word, tie often, and
a tie counted as a hit would break any line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from veilray.evaluation.attacks.base import ATTACKS, TESTS, Attack, ReleasedCodes, Scorer, decision_level, lower_bound
from veilray.evaluation.bootstrap import RESAMPLES, mean
from veilray.evaluation.result import AttackResult, Estimate
from veilray.privacy.mechanisms.base import Floats, Integers

__all__ = ["Linkage", "rank_one"]


@ATTACKS.register("linkage")
@dataclass(frozen=True)
class Linkage(Attack[ReleasedCodes]):
    """Rank-1 among N records of the same label, by exact likelihood.

    Attributes:
        gallery: N, records in a gallery, each of another patient.
        rounds: how often the patients are dealt into galleries.
        tests: checks of the study that share its decision level.
        resamples: of the intervals.
    """

    name: ClassVar[str] = "linkage"
    knowledge: ClassVar[str] = "mechanism, encoder, label, the code of every candidate; no key exists"

    gallery: int = 100
    rounds: int = 4
    tests: int = TESTS
    resamples: int = RESAMPLES

    def __post_init__(self) -> None:
        if self.gallery < 2 or self.rounds < 1:
            raise ValueError(f"gallery must be at least 2 and rounds at least 1, got {self.gallery} and {self.rounds}")

    @property
    def protocol(self) -> str:
        return f"rank-1 among {self.gallery} records of the same label, one a patient, same image"

    def run(self, target: ReleasedCodes, rng: np.random.Generator) -> AttackResult:
        """Name the source of each release in each gallery.

        The negative control deals the releases of a gallery out anew at random: its rank-1 is 1/N but for luck.

        Raises:
            ValueError: where no label has enough patients for one gallery.
        """
        galleries = self._galleries(target, rng)
        rows = galleries.ravel()
        groups = target.patient_keys[rows]
        own, other = self._hits(target.scorer(), galleries, rng)
        positive, _ = self._hits(target.positive(rng), galleries, rng)
        releases = len(target.stacked)

        def interval(hits: Floats) -> Estimate:
            return mean(hits, groups, resamples=self.resamples, seed=int(rng.integers(2**63)))

        return AttackResult(
            attack=self.name,
            protocol=self.protocol,
            knowledge=self.knowledge,
            released=interval(own),
            positive=interval(positive),
            negative=interval(other),
            line=target.claimed.reidentification(self.gallery, releases),
            decided=_decided(own, rows, self.tests),
            confidence=decision_level(self.tests),
            releases_per_target=releases,
        )

    def _galleries(self, target: ReleasedCodes, rng: np.random.Generator) -> Integers:
        """Row numbers `(galleries, N)`; the patients left over sit this round out."""
        found = []
        for _ in range(self.rounds):
            for rows in target.one_a_patient(rng):
                whole = len(rows) // self.gallery
                found.append(rows[: whole * self.gallery].reshape(whole, self.gallery))
        galleries = np.concatenate(found)
        if not len(galleries):
            most = max(len(rows) for rows in target.one_a_patient(rng))
            raise ValueError(f"gallery must be at most {most}, the most patients of one label, got {self.gallery}")
        return galleries

    def _hits(self, scorer: Scorer, galleries: Integers, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Chance of a right guess for each release, and for releases dealt out anew."""
        own, other = [], []
        for gallery in galleries:
            guesses = rank_one(scorer.matrix(gallery, gallery))
            own.append(guesses.diagonal())
            other.append(guesses[np.arange(len(gallery)), rng.permutation(len(gallery))])
        return np.concatenate(own), np.concatenate(other)


def rank_one(scores: Floats) -> Floats:
    """How probably each candidate is named, `(releases, candidates)`: the best, or one of the best by a fair draw."""
    best = scores == scores.max(axis=1, keepdims=True)
    return np.asarray(best / best.sum(axis=1, keepdims=True))


def _decided(hits: Floats, rows: Integers, tests: int) -> float:
    """Lower bound of rank-1. Noise is drawn anew for each record, so records are the independent units; what a record
    adds over all rounds, divided by the most rounds that any is in, lies in [0, 1]."""
    _, number, uses = np.unique(rows, return_inverse=True, return_counts=True)
    most = int(uses.max())
    share = float(np.bincount(number, hits).sum() / (most * len(uses)))
    return lower_bound(min(1.0, share), len(uses), tests) * most * len(uses) / len(rows)

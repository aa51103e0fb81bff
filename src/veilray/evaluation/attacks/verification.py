"""Same-image verification by the exact likelihood: is this release one of this record, or of another with its label?

The score of a release y and a record x is log p(y | x) - log of the mean of p(y | r) over reference records r of the
label. The second term matters for noise that is spread out: how far y lies from everything says nothing about x. It
does not depend on x, so the line holds for it as for any score.

Own pairs are (release i, record i); impostor pairs (release i, record j), j of another patient with the same label.
Each record is in as many impostor pairs as any other, so that nothing can be told from the record alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import logsumexp

from veilray.evaluation.attacks.base import ATTACKS, TESTS, Attack, ReleasedCodes, Scorer, decision_level, lower_bound
from veilray.evaluation.bootstrap import RESAMPLES, auc
from veilray.evaluation.result import AttackResult, Estimate
from veilray.privacy.mechanisms.base import Floats, Integers

__all__ = ["Verification"]


@ATTACKS.register("verification")
@dataclass(frozen=True)
class Verification(Attack[ReleasedCodes]):
    """Area under the ROC curve of own against impostor pairs, by exact likelihood; ties count half.

    Attributes:
        impostors: impostor pairs for each own pair; fewer where a label has fewer patients.
        references: records of a label that a likelihood is compared with; with 0 the plain likelihood is the score:
            weaker, and what the figure by design of a directional release is about (`lines.same_image_auc`).
        tests: checks of the study that share its decision level.
        resamples: of the intervals.
    """

    name: ClassVar[str] = "verification"
    knowledge: ClassVar[str] = "mechanism, encoder, label, the code of every candidate; no key exists"

    impostors: int = 5
    references: int = 100
    tests: int = TESTS
    resamples: int = RESAMPLES

    def __post_init__(self) -> None:
        if self.impostors < 1 or self.references < 0:
            raise ValueError(
                f"impostors must be at least 1 and references at least 0, got {self.impostors} and {self.references}"
            )

    @property
    def protocol(self) -> str:
        return "same image: release and its source against release and another patient's record of the same label"

    def run(self, target: ReleasedCodes, rng: np.random.Generator) -> AttackResult:
        """Score own and impostor pairs, one record a patient.

        The negative control deals the releases of a label out anew at random before the pairs are formed.

        Raises:
            ValueError: where no label has two patients.
        """
        sides = [rows for rows in target.one_a_patient(rng) if len(rows) >= 2]
        if not sides:
            raise ValueError("records must be of two patients or more with one label, got fewer")
        shifts = 1 + np.arange(min(self.impostors, min(map(len, sides)) - 1))
        references = [rng.choice(rows, min(self.references, len(rows)), replace=False) for rows in sides]
        dealt = [rng.permutation(rows) for rows in sides]

        def played(scorer: Scorer, releases: list[Integers]) -> Estimate:
            scores = [
                _pairs(scorer, drawn, rows, shifts, known)
                for drawn, rows, known in zip(releases, sides, references, strict=True)
            ]
            columns = np.concatenate(scores)  # own, then impostors
            own = np.zeros(columns.shape, dtype=np.int64)
            own[:, 0] = 1
            groups = np.repeat(target.patient_keys[np.concatenate(releases)], columns.shape[1])
            seed = int(rng.integers(2**63))
            return auc(own.ravel(), columns.ravel(), groups, resamples=self.resamples, seed=seed)

        released = played(target.scorer(), sides)
        records = sum(map(len, sides))
        releases = len(target.stacked)
        return AttackResult(
            attack=self.name,
            protocol=self.protocol,
            knowledge=self.knowledge,
            released=released,
            positive=played(target.positive(rng), sides),
            negative=played(target.scorer(), dealt),
            line=target.claimed.verification_auc(releases),
            # A pair of releases is one unit; the 1/n of comparisons within one release are given away.
            decided=lower_bound(max(0.0, released.value - 1 / records), records // 2, self.tests),
            confidence=decision_level(self.tests),
            releases_per_target=releases,
        )


def _pairs(scorer: Scorer, releases: Integers, rows: Integers, shifts: Integers, references: Integers) -> Floats:
    """Scores `(n, 1 + impostors)` of each release: with its own record first, then with those `shifts` places on."""
    columns = [scorer.each(releases, rows)] + [scorer.each(releases, np.roll(rows, -shift)) for shift in shifts]
    if scorer.mechanism is None or not len(references):  # a distance needs no reference
        return np.stack(columns, axis=1)
    usual = logsumexp(scorer.matrix(releases, references), axis=1) - np.log(len(references))
    # Impossible under every record that was looked at: nothing learnt. -inf - -inf would be no number.
    usual = np.where(np.isfinite(usual), usual, 0.0)
    return np.asarray((np.stack(columns, axis=1) - usual[:, None]).round(9))

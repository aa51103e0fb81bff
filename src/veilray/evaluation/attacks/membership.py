"""Membership (A3): was this image among those that the flow was trained on?

A flow that has learned images by heart gives them a higher likelihood than it gives other images of the same source.
The plain score is the log-likelihood, minus bits per dimension. It differs more between simple and busy pictures than
between known and unknown ones, so the calibrated score takes off what the picture costs under lossless compression
(as Serra et al. 2020 did against simple outliers; calibration against membership: Watson et al. 2022, "On the
importance of difficulty calibration in membership inference attacks").

No theory line exists: a release's claim does not cover the images that its network was trained on. The figures are the
area under the ROC curve and, as means hide the few that are known for certain, the share of members found at 1 % false
alarms (Carlini et al. 2022, "Membership inference attacks from first principles").

Members and non-members are of the same source and of different patients; else something other than membership is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from veilray.evaluation import bootstrap
from veilray.evaluation.attacks.base import ATTACKS, Attack
from veilray.evaluation.patients import patient_keys
from veilray.evaluation.result import AttackResult, Estimate
from veilray.methods.domain import complexity
from veilray.privacy.mechanisms.base import Floats

__all__ = [
    "FALSE_ALARMS",
    "Membership",
    "MembershipResult",
    "MembershipScores",
    "Memberships",
    "likelihood_scores",
    "membership",
]

FALSE_ALARMS = 0.01
"""Share of non-members that may be taken for members: an attack that accuses at random convinces nobody."""
_SPLITS = 200
"""Of the non-members into two halves."""

Figure = Literal["auc", "true_positive_rate"]


@dataclass(frozen=True)
class MembershipScores:
    """How much like a training image of one flow each image looks; higher is more.

    Attributes:
        members: `(n,)` scores of images that the flow was trained on.
        others: `(m,)` scores of held-out images of the same source.
        member_patients: `(n,)` patient keys; None, with the next, where each image is a patient of its own.
        other_patients: `(m,)` patient keys.

    Raises:
        ValueError: for scores that are not finite or too few, keys that do not fit, or a patient on both sides.
    """

    members: Floats
    others: Floats
    member_patients: NDArray[Any] | None = None
    other_patients: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        for name, scores in (("members", self.members), ("others", self.others)):
            if scores.ndim != 1 or len(scores) < 2 or not np.isfinite(scores).all():
                raise ValueError(f"{name} must be 2 finite scores or more, got shape {scores.shape} or others")
        if (self.member_patients is None) != (self.other_patients is None):
            raise ValueError("patients must be given of both members and others, or of none")
        if self.member_patients is None or self.other_patients is None:
            return
        if self.member_patients.shape != self.members.shape or self.other_patients.shape != self.others.shape:
            raise ValueError(
                f"patients must be one for each of {len(self.members)} members and {len(self.others)} others, "
                f"got shapes {self.member_patients.shape} and {self.other_patients.shape}"
            )
        both = np.intersect1d(patient_keys(self.member_patients), patient_keys(self.other_patients))
        if len(both):
            raise ValueError(f"others must be of other patients than members, got {len(both)} on both sides")

    def halved(self, rng: np.random.Generator) -> MembershipScores:
        """For the negative control: the non-members' patients dealt into two halves, one of them called members."""
        keys = np.arange(len(self.others)) if self.other_patients is None else patient_keys(self.other_patients)
        patients = rng.permutation(np.unique(keys))
        first = np.isin(keys, patients[: len(patients) // 2])
        return MembershipScores(self.others[first], self.others[~first], keys[first], keys[~first])


@dataclass(frozen=True)
class Memberships:
    """What the attack looks at: the flow in question and one that is known to remember.

    Attributes:
        scores: of the flow in question.
        overfitted: of a flow trained on few images until it knew them by heart, scored in the same way.
    """

    scores: MembershipScores
    overfitted: MembershipScores


@dataclass(frozen=True)
class MembershipResult:
    """Both figures of one set of scores.

    Attributes:
        auc: area under the ROC curve; .5 where nothing is told.
        true_positive_rate: share of members above the threshold that `false_alarms` of the non-members reach; about
            `false_alarms` where nothing is told.
        false_alarms: the share of non-members.
    """

    auc: Estimate
    true_positive_rate: Estimate
    false_alarms: float


@ATTACKS.register("membership")
@dataclass(frozen=True)
class Membership(Attack[Memberships]):
    """Members of a flow's training set against held-out images, by likelihood.

    Attributes:
        figure: what the result is of: `auc`, or `true_positive_rate` at `false_alarms`.
        false_alarms: share of non-members taken for members.
        calibrated: how the caller made the scores, for the protocol's wording.
        resamples: of the intervals.
    """

    name: ClassVar[str] = "membership"
    knowledge: ClassVar[str] = "the flow's weights, the image in question; not the other training images"

    figure: Figure = "auc"
    false_alarms: float = FALSE_ALARMS
    calibrated: bool = True
    resamples: int = bootstrap.RESAMPLES

    def __post_init__(self) -> None:
        if self.figure not in ("auc", "true_positive_rate"):
            raise ValueError(f"figure must be auc or true_positive_rate, got {self.figure!r}")
        if not 0 < self.false_alarms < 1:
            raise ValueError(f"false_alarms must be in (0, 1), got {self.false_alarms}")

    @property
    def protocol(self) -> str:
        figure = "AUC" if self.figure == "auc" else f"true positives at {100 * self.false_alarms:g} % false alarms"
        score = "calibrated likelihood" if self.calibrated else "likelihood"
        return f"training images against held-out images of other patients, by {score}: {figure}"

    def run(self, target: Memberships, rng: np.random.Generator) -> AttackResult:
        """Attack the flow, the one that remembers, and halves of the non-members that are called members.

        Raises:
            ValueError: where half of the non-members are too few for the false alarms asked for.
        """
        released, positive = (
            self._figure(scores, self.resamples, int(rng.integers(2**63)))
            for scores in (target.scores, target.overfitted)
        )
        negative = self._negative(target.scores, rng)
        return AttackResult(self.name, self.protocol, self.knowledge, released, positive, negative)

    def _figure(self, scores: MembershipScores, resamples: int, seed: int) -> Estimate:
        if self.figure == "auc":
            return _area(scores, resamples, seed)
        return _found(scores, self.false_alarms, resamples, seed)

    def _negative(self, scores: MembershipScores, rng: np.random.Generator) -> Estimate:
        """Many splits, with the interval that the figure has over them: one split alone may look like a finding."""
        drawn = [self._figure(scores.halved(rng), 2, 0).value for _ in range(_SPLITS)]
        tail = (1 - bootstrap.LEVEL) / 2
        low, high = np.quantile(drawn, [tail, 1 - tail])
        return Estimate(float(np.mean(drawn)), float(low), float(high), len(scores.others), bootstrap.LEVEL)


def membership(
    member_scores: Floats,
    non_member_scores: Floats,
    member_patients: NDArray[Any] | None = None,
    non_member_patients: NDArray[Any] | None = None,
    *,
    false_alarms: float = FALSE_ALARMS,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> MembershipResult:
    """Both figures of one flow, with intervals by patient; `Membership` sets one between its controls.

    Args:
        member_scores: `(n,)`, as `likelihood_scores` gives them.
        non_member_scores: `(m,)`, with at least 1 / `false_alarms` of them.
        member_patients: `(n,)` keys, or None together with the next.
        non_member_patients: `(m,)` keys.
        false_alarms: share of non-members taken for members.
        resamples: of the intervals.
        seed: of the intervals.

    Raises:
        ValueError: as `MembershipScores`, and for too few non-members.
    """
    scores = MembershipScores(member_scores, non_member_scores, member_patients, non_member_patients)
    return MembershipResult(
        auc=_area(scores, resamples, seed),
        true_positive_rate=_found(scores, false_alarms, resamples, seed),
        false_alarms=false_alarms,
    )


def likelihood_scores(
    bits_per_dimension: Callable[[NDArray[Any]], Any], images: NDArray[Any], *, calibrated: bool = True
) -> Floats:
    """Return the score of each image `(n,)`: minus its bits per dimension, plus its complexity where calibrated.

    Args:
        bits_per_dimension: from images `(n, c, h, w)` to `(n,)` bits, an array or a tensor on the CPU: a flow's own
            method, or for a conditional flow a function that adds the conditions of these very images.
        images: integers, as the flow takes them.
        calibrated: take off what the image costs under lossless compression.
    """
    bits = np.asarray(bits_per_dimension(images), dtype=np.float64)
    if bits.shape != (len(images),):
        raise ValueError(f"bits_per_dimension must give one figure for each of {len(images)} images, got {bits.shape}")
    return complexity(images) - bits if calibrated else -bits


def _area(scores: MembershipScores, resamples: int, seed: int) -> Estimate:
    return bootstrap.auc(*_sides(scores), resamples=resamples, seed=seed)


def _found(scores: MembershipScores, false_alarms: float, resamples: int, seed: int) -> Estimate:
    if len(scores.others) * false_alarms < 1:
        raise ValueError(
            f"others must be {round(1 / false_alarms)} or more for {false_alarms:g} false alarms, "
            f"got {len(scores.others)}"
        )
    return bootstrap.true_positive_rate(
        *_sides(scores), false_positive_rate=false_alarms, resamples=resamples, seed=seed
    )


def _sides(scores: MembershipScores) -> tuple[NDArray[np.int64], Floats, NDArray[Any] | None]:
    truth = np.repeat([1, 0], [len(scores.members), len(scores.others)])
    patients = None
    if scores.member_patients is not None and scores.other_patients is not None:
        patients = np.concatenate([scores.member_patients, scores.other_patients])
    return truth, np.concatenate([scores.members, scores.others]), patients

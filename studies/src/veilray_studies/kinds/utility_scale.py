"""The scale on which a utility study is read: means over seeds by epsilon, and the ends null and raw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilray.evaluation.controls import normalised_utility
from veilray_studies.contract import NO_CLAIM
from veilray_studies.table import Interval, StudyTable

__all__ = [
    "MAIN_CODE",
    "MAIN_LEARNERS",
    "Scale",
    "bars",
    "chosen",
    "datasets",
    "forced",
    "means",
    "scale_of",
]

MAIN_CODE = "invariant"
"""The kept code on which mechanisms are compared; the others are compared with it."""
MAIN_LEARNERS: Mapping[str, str] = {"code": "code-logistic", "image": "logistic"}
"""The learner of each space that every mechanism, raw and null have in common."""

_TEN_CLASSES = ("fashion-mnist", "digits")
"""Data sets with ten classes, each as frequent as the others: an answer that looks at nothing is right in a tenth."""


@dataclass(frozen=True)
class Scale:
    """Between what the utility on one data set and in one space stands.

    Attributes:
        metric: `auc` or `accuracy`.
        raw: no protection, by learner.
        null: noise alone with the learner that all have in common; None while not measured.
        chance: the score of an answer that looks at nothing; None where it is not known.
    """

    metric: str
    raw: Mapping[str, Interval]
    null: Interval | None
    chance: float | None

    @property
    def floor(self) -> float | None:
        """The null, but never below chance; None while the null is not measured."""
        return None if self.null is None else max(self.null.mean, self.chance or 0.0)

    def share(self, released: Interval, learner: str) -> Interval | None:
        """Normalised utility with the interval of the released score; None without both ends or room between them."""
        if self.floor is None or learner not in self.raw:
            return None
        raw = self.raw[learner].mean
        share = normalised_utility(released.mean, self.floor, raw)
        return None if share is None else Interval(share, released.half_width / (raw - self.floor), released.count)


def datasets(rows: StudyTable) -> list[str]:
    """Names of the data sets, in the order of the table."""
    return list(dict.fromkeys(rows.column("dataset")))


def chosen(rows: StudyTable) -> StudyTable:
    """The rows whose k was chosen on public images: all that any comparison is made of."""
    return rows.where(keep="")


def forced(rows: StudyTable) -> StudyTable:
    """The rows whose k was forced, to look at it afterwards."""
    return StudyTable(rows.columns, [tuple(row.values()) for row in rows if row["keep"]])


def scale_of(rows: StudyTable, dataset: str, space: str) -> Scale:
    """The ends of one data set and space. Raises ValueError where the table has no row of them."""
    mine = chosen(rows).where(dataset=dataset, space=space)
    if not len(mine):
        raise ValueError(f"dataset and space must have rows in the table, got none of {dataset} {space}")
    metric = mine.column("metric")[0]
    raw = mine.where(mechanism="raw", code=MAIN_CODE).group(("learner",))
    null = mine.where(mechanism="null", code=MAIN_CODE, learner=MAIN_LEARNERS[space])
    chance = 0.5 if metric == "auc" else 0.1 if dataset in _TEN_CLASSES else None
    return Scale(
        metric=metric,
        raw={learner: group.mean("value") for (learner,), group in raw.items()},
        null=null.mean("value") if len(null) else None,
        chance=chance,
    )


def means(rows: StudyTable, column: str = "value") -> dict[str, Interval]:
    """The mean of one column over seeds for each epsilon, smallest first; fields that are not given are left out."""
    groups = rows.group(("epsilon",))
    claimed = sorted((epsilon for (epsilon,) in groups if epsilon != NO_CLAIM), key=float)
    return {epsilon: groups[epsilon,].mean(column) for epsilon in claimed if all(groups[epsilon,].column(column))}


def bars(points: Iterable[Interval]) -> NDArray[np.float64]:
    """What the interval of each score reaches below and above its mean, `(2, n)`; a single seed has none.

    A score is between 0 and 1 and so is its bar: few seeds give intervals that pass both.
    """
    found = [(p.mean - max(p.low, 0.0), min(p.high, 1.0) - p.mean) if p.half_width > 0 else (0.0, 0.0) for p in points]
    return np.array(found).T

"""Does a released picture show the condition that it was released with? A classifier of real images reads it back.

For a method that decodes under a condition, such as CADP, agreement is what the condition was for. It says nothing of
the private images: a class-conditional sampler that saw none agrees just as well, and pictures plainer than real ones
can agree better than those do. So the reader's accuracy on real test images stands beside it, level by level, and so
does chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.evaluation import bootstrap
from veilray.evaluation.controls import chance
from veilray.evaluation.result import Estimate
from veilray.evaluation.utility.base import Learner, checked_labels

__all__ = ["Consistency", "Reading", "consistency"]


@dataclass(frozen=True)
class Reading:
    """How often the level that is read is the one that stands beside the picture.

    Attributes:
        overall: share of all pictures.
        levels: share by the level beside the picture; a level without a picture is left out.
        chance: what naming the commonest level every time would come to.
    """

    overall: Estimate
    levels: Mapping[int, Estimate]
    chance: float


@dataclass(frozen=True)
class Consistency:
    """Released pictures and real ones before the same reader.

    Attributes:
        released: levels as released against levels as read.
        real: the reader's accuracy on real images that it was not fitted on.
    """

    released: Reading
    real: Reading

    @property
    def has_power(self) -> bool:
        """True where the reader reads real images better than chance: else its reading says nothing."""
        return self.real.overall.low > self.real.chance

    def to_rows(self) -> list[dict[str, str | int | float]]:
        """Flat rows of a table: all levels first, then each, for released and real pictures."""
        return [
            {
                "pictures": pictures,
                "level": level,
                "share": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "count": estimate.count,
                "chance": reading.chance,
            }
            for pictures, reading in (("released", self.released), ("real", self.real))
            for level, estimate in [("all", reading.overall), *((str(one), of) for one, of in reading.levels.items())]
        ]


def consistency(
    reader: Learner,
    released: NDArray[Any],
    released_levels: NDArray[Any],
    real: NDArray[Any],
    real_levels: NDArray[Any],
    *,
    released_patients: NDArray[Any] | None = None,
    real_patients: NDArray[Any] | None = None,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> Consistency:
    """Read the condition back from released and from real pictures.

    Args:
        reader: a learner fitted on real labelled images, of other patients than the real ones here.
        released: pictures as the reader takes them.
        released_levels: `(n,)` level numbers beside the pictures: what the decoder was told, not what is true.
        real: real test images.
        real_levels: `(m,)` their true levels.
        released_patients: `(n,)` keys for the bootstrap; None: each picture is a patient of its own.
        real_patients: `(m,)` keys likewise.
        resamples: of the intervals.
        seed: of the intervals.

    Raises:
        ValueError: for a reader that is not fitted, no pictures, or levels that it does not know.
    """

    def read(images: NDArray[Any], levels: NDArray[Any], patients: NDArray[Any] | None) -> Reading:
        told = checked_labels(levels, len(images))
        if not len(told) or told.max() >= reader.classes:
            got = f"{told.max()}" if len(told) else "no pictures"
            raise ValueError(f"levels must be 0 to {reader.classes - 1}, as the reader was fitted on, got {got}")
        hits = (reader.predict_proba(images).argmax(axis=1) == told).astype(np.float64)

        def share(rows: NDArray[np.bool_]) -> Estimate:
            groups = None if patients is None else patients[rows]
            return bootstrap.mean(hits[rows], groups, resamples=resamples, seed=seed)

        return Reading(
            overall=share(np.ones(len(told), dtype=np.bool_)),
            levels={int(level): share(told == level) for level in np.unique(told)},
            chance=chance("accuracy", told),
        )

    return Consistency(
        released=read(released, released_levels, released_patients), real=read(real, real_levels, real_patients)
    )

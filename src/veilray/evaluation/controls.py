"""Controls: between what utility stands, and when a release has shown that its private images were worth anything.

A score alone says little: a class-conditional sampler that never saw a private image can reach it.
Utility counts only above the best null that the recipient could have had without the release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from veilray.evaluation.bootstrap import over_seeds
from veilray.evaluation.result import Estimate

__all__ = [
    "CONTROLS",
    "FEWEST_DRAWS",
    "NOTHING_ADDED",
    "NO_ROOM",
    "Control",
    "beats",
    "best_null",
    "chance",
    "conclusion",
    "normalised_utility",
]

NO_ROOM = 0.05
"""Least distance from null to raw over which a share means anything: below it, it is a ratio of two small noises."""

FEWEST_DRAWS = 20
"""Draws of a null that its mean is taken over: nulls scatter widely."""

NOTHING_ADDED = "the private images added nothing"


@dataclass(frozen=True)
class Control:
    """One end of a scale.

    Attributes:
        name: as it stands in tables.
        definition: how it is made, in words.
        end: `floor` for what needs no private image, `ceiling` for what hides nothing.
        public_labels: True where it exists only if the public half has labels; say per study whether it has.
    """

    name: str
    definition: str
    end: Literal["floor", "ceiling"]
    public_labels: bool = False


CONTROLS: Mapping[str, Control] = {
    control.name: control
    for control in (
        Control("raw", "the private images as they are, with their labels: no protection", "ceiling"),
        Control(
            "null",
            "the same pipeline with the mechanism at epsilon 0 and the same label policy: noise alone, mean over seeds",
            "floor",
        ),
        Control(
            "null-conditional",
            "a class-conditional sampler of the public images: the label goes in, no private image does",
            "floor",
            public_labels=True,
        ),
        Control("public-only", "the learner trained on the public half, with its labels", "floor", public_labels=True),
        Control("chance", "the score of an answer that looks at nothing", "floor"),
    )
}
"""The named controls; raw, nulls, public-only and released are printed together, on one scale."""


def best_null(draws: Mapping[str, Sequence[float]], chance: float) -> Estimate:
    """The best of the nulls that a recipient has, each its mean over draws; chance where none is better.

    Args:
        draws: scores of each null by name, 20 or more.
        chance: the score of an answer that looks at nothing.

    Raises:
        ValueError: for an unknown control, one that is no floor, or fewer than 20 draws.
    """
    best = Estimate(chance, chance, chance, 1)
    for name, scores in draws.items():
        if name not in CONTROLS or CONTROLS[name].end != "floor":
            floors = ", ".join(control.name for control in CONTROLS.values() if control.end == "floor")
            raise ValueError(f"null must be one of {floors}, got {name!r}")
        if len(scores) < FEWEST_DRAWS:
            raise ValueError(f"draws of {name} must be {FEWEST_DRAWS} or more, got {len(scores)}")
        best = max(best, over_seeds(scores), key=lambda estimate: estimate.value)
    return best


def chance(metric: Literal["auc", "accuracy"], labels: NDArray[Any]) -> float:
    """The score of an answer that looks at nothing: .5 for `auc`, for `accuracy` the share of the commonest label.

    Raises:
        ValueError: for no labels, or another metric.

    Example:
        >>> chance("accuracy", np.array([0, 0, 0, 1])), chance("auc", np.array([0, 0, 0, 1]))
        (0.75, 0.5)
    """
    if metric not in ("auc", "accuracy"):
        raise ValueError(f"metric must be auc or accuracy, got {metric!r}")
    if not len(labels):
        raise ValueError("labels must be one or more, got none")
    return 0.5 if metric == "auc" else float(np.unique(labels, return_counts=True)[1].max() / len(labels))


def normalised_utility(released: float, null: float, raw: float) -> float | None:
    """(released - null) / (raw - null); None ("no room") where raw is less than .05 above null.

    Example:
        >>> normalised_utility(0.75, 0.5, 1.0), normalised_utility(0.52, 0.5, 0.54)
        (0.5, None)
    """
    return None if raw - null < NO_ROOM else (released - null) / (raw - null)


def beats(released: Estimate, null: Estimate) -> bool:
    """True where the release is better than the best null by more than its interval: the two intervals do not meet."""
    return released.low > null.high


def conclusion(released: Estimate, null: Estimate) -> str:
    """The sentence that stands on the page.

    Example:
        >>> conclusion(Estimate(0.9, 0.88, 0.92, 600), Estimate(0.8, 0.79, 0.81, 20))
        'the private images added 0.100 over the best null'
        >>> conclusion(Estimate(0.81, 0.79, 0.83, 600), Estimate(0.8, 0.79, 0.81, 20))
        'the private images added nothing'
    """
    if not beats(released, null):
        return NOTHING_ADDED
    return f"the private images added {released.value - null.value:.3f} over the best null"

"""One-run games over the elements of a box: every element, or every small group of them, is a trial of its own.

Each target element is +far or -far by a fair coin, its neighbours are 0, and the auditor guesses the coins from
one statistic of each group. A mechanism that randomises elements independently is audited by many of them in one
release; for dependent ones the bound still holds under the claim (Steinke, Nasr and Jagielski 2023).
Differences and sums catch noise that elements or rows share, which no statistic of one element can see.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilray.evaluation.audit.confidence import Counts
from veilray.evaluation.audit.games import Plan, fair_coins, scored_check, threshold_of
from veilray.evaluation.audit.report import Check
from veilray.evaluation.audit.subject import Subject
from veilray.privacy import Entropy
from veilray.privacy.mechanisms.base import Floats

__all__ = ["ELEMENT_GAMES", "play_elements"]

_FAR = 1e6


@dataclass(frozen=True)
class ElementGame:
    """One statistic: `weights` of a block of rows and columns whose last element is the target."""

    name: str
    weights: NDArray[np.float64]


def _weights(rows: int, columns: int, others: float) -> NDArray[np.float64]:
    weights = np.full((rows, columns), others)
    weights[-1, -1] = 1.0
    return weights


ELEMENT_GAMES = (
    ElementGame("each element", _weights(1, 1, 0.0)),
    ElementGame("difference of two elements", _weights(1, 2, -1.0)),
    ElementGame("sum of two elements", _weights(1, 2, 1.0)),
    ElementGame("element less the mean of its block of 8", _weights(1, 8, -1 / 7)),
    ElementGame("sum of a block of 8", _weights(1, 8, 1.0)),
    ElementGame("difference of two rows", _weights(2, 1, -1.0)),
    ElementGame("sum of two rows", _weights(2, 1, 1.0)),
)
"""The groups and weights; the first is the marginal test, to which the bar belongs."""


def play_elements(subject: Subject, plan: Plan, entropy: Entropy, bar: float | None = None) -> list[Check]:
    """Play every element game that fits the subject's dimension; none for a subject without an element claim."""
    checks: list[Check] = []
    if subject.element is None:
        return checks
    for game in ELEMENT_GAMES:
        if game.weights.shape[1] > subject.dimension:
            continue
        marginal = game.weights.size == 1
        high, wide = game.weights.shape
        groups = plan.most_rows(worst=True) // high * (subject.dimension // wide)
        wanted = max(400, min(2 * (plan.trials if marginal else plan.fewer), groups))
        refused = subject.refuses(np.zeros((2, subject.dimension)))
        if refused:
            told = f"{game.name} / refused"
            checks.append(Check(told, "joint", "zero rows are released", passed=False, trials=0, detail=refused))
            continue
        # The target is +far or -far and its neighbours are 0, so every statistic is symmetric about 0 and a larger one
        # speaks for +far: the threshold alone comes from the pilot.
        pilot, pilot_first = _scores(subject, game, max(400, wanted // 4), entropy)
        gaussian = marginal and subject.element.kind == "mu"
        threshold = threshold_of(pilot, pilot_first, subject.element, closed_form=gaussian)
        scores, first = _scores(subject, game, wanted, entropy)
        guessed = np.abs(scores) >= threshold
        right = int(np.count_nonzero(guessed & ((scores >= 0) == first)))
        counts = Counts(right, int(np.count_nonzero(guessed)) - right, len(scores))
        family = "marginal" if marginal else "joint"
        checks.append(scored_check(game.name, family, counts, subject.element, plan, bar if marginal else None))
    return checks


def _scores(subject: Subject, game: ElementGame, trials: int, entropy: Entropy) -> tuple[Floats, NDArray[np.bool_]]:
    """The statistic of at least `trials` groups, and the coin of each target."""
    high, wide = game.weights.shape
    across = subject.dimension // wide
    down = -(-trials // across)
    first = fair_coins(down * across, entropy).reshape(down, across)
    rows = np.zeros((down, high, across, wide))
    rows[:, -1, :, -1] = np.where(first, _FAR, -_FAR)
    padded = np.zeros((down * high, subject.dimension))
    padded[:, : across * wide] = rows.reshape(down * high, across * wide)
    released = subject.draw(padded, entropy, high)[:, : across * wide].reshape(down, high, across, wide)
    return np.einsum("rhaw,hw->ra", released, game.weights).reshape(-1), first.reshape(-1)

"""The guessing game behind every marginal and joint test.

A fair coin chooses one of two inputs, the subject releases it, a score looks at what came out, and the auditor guesses
where the score is large enough, else abstains. Statistic and threshold are fixed on a pilot of their own before the
first counted release is drawn. `certified` turns right and wrong guesses into a lower bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilray.evaluation.audit.confidence import DISPLAY, Counts, Limit, certified, decision_confidence
from veilray.evaluation.audit.pairs import WORST, Pair
from veilray.evaluation.audit.report import Check
from veilray.evaluation.audit.statistics import STATISTICS, Score
from veilray.evaluation.audit.subject import Subject
from veilray.privacy import Entropy
from veilray.privacy.mechanisms.base import Floats

__all__ = ["Plan", "fair_coins", "play", "scored_check", "threshold_of"]

_QUANTILES = (0.0, 0.2, 0.5, 0.8, 0.9, 0.95, 0.99, 0.997, 0.999, 0.9997)
"""Shares of the trials that a threshold may abstain from."""

_PLATEAU = 1 - 1e-9
_PLATEAU_SHARE = 0.2
_PILOT = 4
_FEWEST = 400
_TRY = 0.9
_ELEMENTS_AT_ONCE = 2**20
_PILOT_ELEMENTS = 2**24


@dataclass(frozen=True)
class Plan:
    """How much is drawn and how it is judged: the trials asked for, as far as the budget goes; checks say how many.

    Attributes:
        trials: of each side of the worst pair and of the element games; other pairs get a tenth, at least 4,000.
        tests: number of checks with a decision; fixes the decision confidence.
        row_words: 64-bit words of entropy that the subject draws for one row.
        words: most words drawn for the worst pair, or for one element game; a tenth for another pair.
        rows: most rows drawn for one pair.
    """

    trials: int
    tests: int
    row_words: int = 1
    words: int = 2**31
    rows: int = 2**23

    def most_rows(self, worst: bool) -> int:
        """Rows that the budget allows."""
        return min(self.rows, (self.words if worst else self.words // 10) // self.row_words)

    def sides(self, pair: Pair) -> int:
        """Trials of each side of a pair."""
        worst = pair.name == WORST
        wanted = self.trials if worst else self.fewer
        return max(_FEWEST, min(wanted, self.most_rows(worst) // (2 * len(pair.first))))

    @property
    def fewer(self) -> int:
        """Trials of each side where all are not needed."""
        return max(self.trials // 10, min(self.trials, 4000))


def play(subject: Subject, pair: Pair, plan: Plan, entropy: Entropy, bar: float | None = None) -> list[Check]:
    """Play one pair once and score it by every statistic that applies.

    Args:
        bar: least certified share, for the likelihood statistic.
    """
    refused = subject.refuses(pair.first) or subject.refuses(pair.second)
    if refused:
        told = f"{pair.name} / refused"
        return [Check(told, "joint", "both inputs are released", passed=False, trials=0, detail=refused)]
    trials = 2 * plan.sides(pair)
    pilot, first = _draw(subject, pair, _pilot(trials, pair.first.size), entropy)
    half = len(pilot) // 2
    players: dict[str, tuple[Score, float]] = {}
    for name in STATISTICS:
        score = STATISTICS[name](subject, pair, pilot[:half], first[:half])
        if score is not None:
            # The likelihood needs no training, so its threshold may use the whole pilot.
            start = 0 if name == "likelihood" else half
            chosen = threshold_of(score(pilot[start:]), first[start:], pair.limit, closed_form=name == "likelihood")
            players[name] = score, chosen
    right, wrong = dict.fromkeys(players, 0), dict.fromkeys(players, 0)
    for size in _chunks(trials, pair.first.size):
        released, sides = _draw(subject, pair, size, entropy)
        for name, (score, threshold) in players.items():
            hit, missed = _guess(score(released), sides, threshold)
            right[name] += hit
            wrong[name] += missed
    return [
        scored_check(
            f"{pair.name} / {name}",
            pair.family if name == "likelihood" else "joint",
            Counts(right[name], wrong[name], trials),
            pair.limit,
            plan,
            bar if name == "likelihood" else None,
        )
        for name in players
    ]


def scored_check(test: str, family: str, counts: Counts, limit: Limit, plan: Plan, bar: float | None) -> Check:
    """The bounds of both levels and the verdict."""
    confidence = decision_confidence(plan.tests)
    shown, decided = (certified(counts, limit.kind, level, limit.delta) for level in (DISPLAY, confidence))
    return Check(
        test=test,
        family=family,  # type: ignore[arg-type]
        tested=f"{counts.right + counts.wrong:,} guesses, {counts.right:,} right",
        passed=decided <= limit.value,
        trials=counts.trials,
        limit=limit,
        shown=shown,
        decided=decided,
        confidence=confidence,
        bar=bar,
    )


def threshold_of(scores: Floats, first: NDArray[np.bool_], limit: Limit, closed_form: bool) -> float:
    """The threshold that proves most on the pilot, at 90 %.

    In `closed_form` there is nothing to choose: an honest pure mechanism has its worst ratio on a whole set of outputs,
    so the threshold is the largest score, where a fifth of the trials reach it; Gaussians need no abstention.
    """
    size = np.abs(scores)
    top = float(size.max(initial=0.0)) * _PLATEAU
    if closed_form and limit.kind == "mu":
        return 0.0
    if closed_form and np.mean(size >= top) >= _PLATEAU_SHARE:
        return top
    found = []
    for threshold in dict.fromkeys([*np.quantile(size, _QUANTILES).tolist(), top]):
        wanted = 0.0 if threshold == size.min() else threshold
        right, wrong = _guess(scores, first, wanted)
        found.append((certified(Counts(right, wrong, len(scores)), limit.kind, _TRY, limit.delta), -wanted))
    return -max(found)[1]


def fair_coins(count: int, entropy: Entropy) -> NDArray[np.bool_]:
    """`count` fair coins."""
    return np.unpackbits(np.frombuffer(entropy.bytes(count // 8 + 1), np.uint8))[:count].astype(np.bool_)


def _guess(scores: Floats, first: NDArray[np.bool_], threshold: float) -> tuple[int, int]:
    """Right and wrong guesses; a score of 0 is an abstention, unless all must guess: then it means the first."""
    guessed = np.abs(scores) >= threshold
    if threshold > 0:
        guessed &= scores != 0
    right = int(np.count_nonzero(guessed & ((scores >= 0) == first)))
    return right, int(np.count_nonzero(guessed)) - right


def _draw(subject: Subject, pair: Pair, trials: int, entropy: Entropy) -> tuple[Floats, NDArray[np.bool_]]:
    """Released records `(trials, m * e)` and which input each came from."""
    first = fair_coins(trials, entropy)
    rows = np.where(first[:, None, None], pair.first, pair.second).reshape(-1, subject.dimension)
    return subject.draw(rows, entropy, len(pair.first)).reshape(trials, -1), first


def _pilot(trials: int, elements: int) -> int:
    return max(_FEWEST, min(trials // _PILOT, _PILOT_ELEMENTS // elements))


def _chunks(trials: int, elements: int) -> Iterator[int]:
    step = max(1, _ELEMENTS_AT_ONCE // elements)
    yield from (min(step, trials - at) for at in range(0, trials, step))

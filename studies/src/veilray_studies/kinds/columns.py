"""Columns that the utility studies share: a learner tested on real pictures, and two attacks beside their lines."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.evaluation import bootstrap
from veilray.evaluation.attacks import Linkage, ReleasedCodes, Verification
from veilray.evaluation.result import Estimate
from veilray.evaluation.utility import Learner, score

__all__ = ["Row", "attacked", "figures", "tested"]

Row = dict[str, Any]


def tested(
    learner: Learner,
    inputs: NDArray[Any],
    labels: NDArray[np.int64],
    test: NDArray[Any],
    truth: NDArray[np.int64],
    patients: NDArray[Any],
    seed: int,
) -> Row:
    """Train on `inputs`, test on real ones; the interval is a bootstrap over the test `patients`."""
    found = score(learner, inputs, labels, test, truth, seed=seed)
    if found.metric == "auc":
        estimate = bootstrap.auc(found.labels, found.scores, patients, seed=seed)
    else:
        estimate = bootstrap.mean(found.scores, patients, seed=seed)
    return figures(learner, found.metric, estimate, len(inputs))


def figures(learner: Learner, metric: str, estimate: Estimate, images: int) -> Row:
    """A figure with its interval, of a learner trained on so many images."""
    found = {name: round(getattr(estimate, name), 5) for name in ("value", "low", "high")}
    return {"learner": learner.name, "metric": metric, **found, "images": images}


def attacked(target: ReleasedCodes, gallery: int, seed: int) -> Row:
    """Linkage among `gallery` records of equal label and same-image verification, beside their lines."""
    rng = np.random.default_rng(seed)
    linkage, verification = Linkage(gallery=gallery, rounds=1).run(target, rng), Verification().run(target, rng)
    return {
        "rank_one": round(linkage.released.value, 5),
        "rank_one_line": None if linkage.line is None else round(linkage.line, 5),
        "verification": round(verification.released.value, 5),
        "verification_line": None if verification.line is None else round(verification.line, 5),
        "attacks_verdict": f"{linkage.verdict}; {verification.verdict}",
    }

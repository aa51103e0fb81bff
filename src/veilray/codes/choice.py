"""How many numbers to keep at an epsilon, and how fast their weight falls: chosen by rehearsal on public images.

Without labels there is no task to measure, so tasks are made up: clusters of the public features play the labels
(k-means with as many clusters as there will be classes; as in deep clustering, Caron et al. 2018). Half of the public
images are "released" through the real mechanism, a linear discriminant is trained on what comes out, and it is scored
on the clean codes of the other half. The k and decay with the best mean score over tasks and repetitions are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from veilray.privacy import Mechanism, SeededEntropy

__all__ = ["DECAYS", "KEEPS", "Choice", "choose_keep", "decayed", "pseudo_tasks"]

KEEPS = (2, 3, 4, 6, 8, 12, 16, 24, 32)
DECAYS = (None, 8.0, 2.0, 1.0)
_TASKS = 3
_REHEARSALS = 2


@dataclass(frozen=True)
class Choice:
    """The k and decay chosen, and the best score of each k tried.

    A score is the mean over the tasks of (accuracy - chance) / (1 - chance), chance being the largest cluster's share.
    """

    keep: int
    decay: float | None
    scores: dict[int, float]


def decayed(keep: int, decay: float | None) -> NDArray[np.float64]:
    """The weights `(keep,)` of nested numbers: 1 / sqrt(1 + i / decay), or all 1 without a decay.

    Raises:
        ValueError: for a decay that is not above 0.
    """
    if decay is None:
        return np.ones(keep)
    if not decay > 0:
        raise ValueError(f"decay must be above 0, got {decay}")
    return np.asarray(1 / np.sqrt(1 + np.arange(keep) / decay))


def pseudo_tasks(features: NDArray[np.float64], classes: int, seed: int = 0) -> list[NDArray[np.int64]]:
    """Made-up labels of public feature rows `(n, f)`: a few clusterings `(n,)` into `classes` kinds.

    Raises:
        ValueError: for fewer than two classes.
    """
    if classes < 2:
        raise ValueError(f"classes must be 2 or more, got {classes}")
    scaled = (features - features.mean(0)) / (features.std(0) + 1e-9)
    return [
        np.asarray(KMeans(classes, n_init=2, random_state=seed + task).fit_predict(scaled), dtype=np.int64)
        for task in range(_TASKS)
    ]


def choose_keep(
    codes: NDArray[np.float64],
    tasks: Sequence[NDArray[np.int64]],
    mechanism_of: Callable[[int], Mechanism],
    keeps: Sequence[int] = KEEPS,
    seed: int = 0,
    *,
    decays: Sequence[float | None] = (None,),
) -> Choice:
    """Rehearse releases of public images at each k and decay.

    Args:
        codes: nested public code rows `(n, k_max)`: the first k are the code of k numbers.
        tasks: made-up labels, from `pseudo_tasks`.
        mechanism_of: k to the calibrated mechanism; it draws from a seeded entropy here.
        keeps: the k to try; those above k_max are left out.
        decays: the decays to try at each k; see `decayed`.

    Raises:
        ValueError: where no k can be tried.
    """
    tried = [keep for keep in keeps if keep <= codes.shape[1]]
    if not tried:
        raise ValueError(f"keep must be one of those to try, up to {codes.shape[1]}, got {list(keeps)}")
    scores = {
        (keep, decay): _rehearse(codes[:, :keep] * decayed(keep, decay), tasks, mechanism_of(keep), seed)
        for keep in tried
        for decay in decays
    }
    keep, decay = max(scores, key=lambda setting: (scores[setting], -setting[0]))
    best = {each: max(score for (k, _), score in scores.items() if k == each) for each in tried}
    return Choice(keep, decay, best)


def _rehearse(codes: NDArray[np.float64], tasks: Sequence[NDArray[np.int64]], mechanism: Mechanism, seed: int) -> float:
    gains = []
    for repetition in range(_REHEARSALS):
        order = np.random.default_rng((seed, repetition)).permutation(len(codes))
        shown, held = order[: len(order) // 2], order[len(order) // 2 :]
        entropy = SeededEntropy(f"rehearsal {seed} {repetition}")
        released = mechanism.to_prior(mechanism.release(codes[shown], entropy))
        for labels in tasks:
            learner = LinearDiscriminantAnalysis(solver="lsqr").fit(released, labels[shown])
            chance = np.bincount(labels[held]).max() / len(held)
            gains.append((learner.score(codes[held], labels[held]) - chance) / (1 - chance))
    return float(np.mean(gains))

"""The contract of a learner: fitted on arrays and labels, it gives the probability of each class.

A learner is a recipient of a release. What it needs to choose (a penalty, when to stop) it chooses on the data it
is fitted on, never on the test set; everything else is fixed beforehand, the same for raw, released and null data.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from veilray.networks.classification import held_out_tenth
from veilray.registry import Registry

__all__ = [
    "LEARNERS",
    "LOWEST_CLASS",
    "LOWEST_COUNT",
    "Floats",
    "Learner",
    "Space",
    "checked_labels",
    "validation_rows",
]

Floats = NDArray[np.float64]
Space = Literal["image", "code"]

LOWEST_COUNT = 20
"""Fewer rows leave less than two for validation."""
LOWEST_CLASS = 3
"""Rows of each class that occurs: threefold cross-validation shows each fold every class."""


class Learner(ABC):
    """Learns labels from images or from codes.

    A concrete learner names itself and its space, and gives `_fit` and `_probabilities`; the checks are here.
    A learner that is not fitted holds settings only and may be fitted many times.

    Example:
        >>> from veilray.evaluation.utility import LEARNERS
        >>> rng = np.random.default_rng(0)
        >>> labels = rng.integers(0, 2, 200)
        >>> codes = rng.standard_normal((200, 4)) + labels[:, None]
        >>> learner = LEARNERS["code-logistic"]().fit(codes, labels, seed=0)
        >>> learner.predict_proba(codes).shape
        (200, 2)
    """

    name: ClassVar[str]
    space: ClassVar[Space]
    """`image`: `(n, c, h, w)` uint8 or uint16. `code`: `(n, k)` float64."""

    _classes: int | None = None
    _row: tuple[int, ...]

    def fit(self, inputs: NDArray[Any], labels: NDArray[Any], seed: int) -> Self:
        """Return a fitted copy; this object stays as it is.

        Args:
            inputs: images or codes, 20 rows or more.
            labels: `(n,)` integers 0 .. C-1; the highest one sets C. Two classes or more, 3 rows of each.
            seed: of whatever the learner draws. Equal seeds give equal learners on one machine.

        Raises:
            ValueError: for inputs or labels of another kind, values that are not finite, or too few of them.
        """
        self._check_inputs(inputs)
        whole = checked_labels(labels, len(inputs))
        _check_enough(whole)
        fitted = copy.copy(self)
        fitted._row, fitted._classes = inputs.shape[1:], int(whole.max()) + 1
        fitted._fit(inputs, whole, seed)
        return fitted

    def predict_proba(self, inputs: NDArray[Any]) -> Floats:
        """Return the probability of each class, `(n, classes)` float64; each row on its own.

        Raises:
            ValueError: before `fit`, and for inputs of another kind or shape than those it was fitted on.
        """
        classes = self.classes
        self._check_inputs(inputs)
        if inputs.shape[1:] != self._row:
            raise ValueError(f"inputs must have rows of shape {self._row}, as fitted, got {inputs.shape[1:]}")
        if not len(inputs):
            return np.zeros((0, classes))
        return self._probabilities(inputs)

    @property
    def classes(self) -> int:
        """Number of classes; raises ValueError before `fit`."""
        if self._classes is None:
            raise ValueError(f"learner must be fitted, got a new {self.name}: call fit() and use what it returns")
        return self._classes

    @abstractmethod
    def _fit(self, inputs: NDArray[Any], labels: NDArray[np.int64], seed: int) -> None:
        """Learn from checked inputs and labels; `classes` is set."""

    @abstractmethod
    def _probabilities(self, inputs: NDArray[Any]) -> Floats:
        """Return `(n, classes)` float64 for one checked row or more; rows sum to one."""

    def _check_inputs(self, inputs: NDArray[Any]) -> None:
        if self.space == "image":
            if inputs.ndim != 4 or inputs.dtype not in (np.uint8, np.uint16) or 0 in inputs.shape[1:]:
                raise ValueError(
                    f"inputs must be (n, c, h, w) uint8 or uint16 images, got shape {inputs.shape} {inputs.dtype}"
                )
        elif inputs.ndim != 2 or inputs.dtype != np.float64 or not inputs.shape[1]:
            raise ValueError(f"inputs must be (n, k) float64 codes, got shape {inputs.shape} {inputs.dtype}")
        elif not np.isfinite(inputs).all():
            raise ValueError("inputs must be finite, got NaN or infinity")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'new' if self._classes is None else f'{self._classes} classes'})"


LEARNERS: Registry[type[Learner]] = Registry("learner")


def checked_labels(labels: NDArray[Any], rows: int) -> NDArray[np.int64]:
    """Return the labels as int64; raises ValueError unless they are `(rows,)` integers from 0."""
    if labels.shape != (rows,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be ({rows},) integers, one a row, got shape {labels.shape} {labels.dtype}")
    whole: NDArray[np.int64] = labels.astype(np.int64)
    if rows and whole.min() < 0:
        raise ValueError(f"labels must be 0 or more, got {whole.min()}")
    return whole


def validation_rows(labels: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Choose a tenth of the rows, each class in proportion: True where a row validates and does not train.

    The rows are those that a learner is fitted on, so the tenth is as noisy as the rest; no test row is ever here.
    """
    return held_out_tenth(labels, np.random.default_rng(seed))


def _check_enough(labels: NDArray[np.int64]) -> None:
    if len(labels) < LOWEST_COUNT:
        raise ValueError(f"inputs must be {LOWEST_COUNT} rows or more, got {len(labels)}")
    present, counts = np.unique(labels, return_counts=True)
    if len(present) < 2:
        raise ValueError(f"labels must be of two classes or more, got {present[0]} only")
    if counts.min() < LOWEST_CLASS:
        rare = present[counts.argmin()]
        raise ValueError(
            f"labels must be {LOWEST_CLASS} or more of each class, got {counts.min()} of class {rare}: leave it out"
        )

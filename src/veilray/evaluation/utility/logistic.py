"""Logistic regression: on averaged pixels, and on the kept code.

The penalty is the one thing chosen, by threefold cross-validation of the log loss within the data it is fitted on.
The log loss, unlike accuracy, also tells penalties apart where labels are nearly random.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from veilray.evaluation.utility.base import LEARNERS, LOWEST_CLASS, Floats, Learner, Space
from veilray.evaluation.utility.pooling import pooled

__all__ = ["CodeLogistic", "Logistic"]

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse penalties of standardised features: from nearly the difference of the class means to nearly none."""
SIDE = 16
"""Features are the pixels after average-pooling to at most 16 x 16, each standardised on the training images."""


class CodeLogistic(Learner):
    """Multinomial logistic regression on standardised features, here the elements of the code."""

    name: ClassVar[str] = "code-logistic"
    space: ClassVar[Space] = "code"

    def _fit(self, inputs: NDArray[Any], labels: NDArray[np.int64], seed: int) -> None:
        folds = StratifiedKFold(LOWEST_CLASS, shuffle=True, random_state=seed)
        # Scaling is part of what is validated, so that no fold sees another one's spread.
        pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, tol=1e-3))
        grid = {"logisticregression__C": PENALTIES}
        self._model = GridSearchCV(pipeline, grid, scoring="neg_log_loss", cv=folds, error_score="raise")
        self._model.fit(self._features(inputs), labels)

    def _probabilities(self, inputs: NDArray[Any]) -> Floats:
        found = self._model.predict_proba(self._features(inputs)).astype(np.float64)
        probabilities = np.zeros((len(inputs), self.classes))
        probabilities[:, self._model.classes_] = found / found.sum(axis=1, keepdims=True)
        return probabilities

    def _features(self, inputs: NDArray[Any]) -> NDArray[Any]:
        return inputs


class Logistic(CodeLogistic):
    """Multinomial logistic regression on pixels averaged to at most 16 x 16, each standardised."""

    name: ClassVar[str] = "logistic"
    space: ClassVar[Space] = "image"

    def _features(self, inputs: NDArray[Any]) -> NDArray[Any]:
        return pooled(inputs, SIDE).reshape(len(inputs), -1)


LEARNERS.register(Logistic.name)(Logistic)
LEARNERS.register(CodeLogistic.name)(CodeLogistic)

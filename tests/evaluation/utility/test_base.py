"""The contract of a learner: what it refuses, what stays untouched, how its validation tenth is chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from veilray.evaluation.utility import LEARNERS, Learner
from veilray.evaluation.utility.base import LOWEST_CLASS, validation_rows


class Prior(Learner):
    """Predicts the share of each class: the least that keeps the contract."""

    name, space = "prior", "code"

    def _fit(self, inputs: NDArray[Any], labels: NDArray[np.int64], seed: int) -> None:
        self.share = np.bincount(labels) / len(labels)

    def _probabilities(self, inputs: NDArray[Any]) -> NDArray[np.float64]:
        return np.tile(self.share, (len(inputs), 1))


IMAGES = np.zeros((40, 1, 8, 8), np.uint8)
CODES = np.zeros((40, 3))
LABELS = np.arange(40) % 2


def with_value(value: float) -> np.ndarray:
    codes = CODES.copy()
    codes[3, 1] = value
    return codes


@pytest.mark.parametrize("name", list(LEARNERS))
def test_name_is_the_registered_one(name: str) -> None:
    assert LEARNERS[name].name == name


@pytest.mark.parametrize(
    "images", [IMAGES[:, 0], IMAGES.astype(float), IMAGES.astype(np.int64), IMAGES[:, :0], CODES], ids=str
)
def test_image_learner_refuses_what_is_no_image(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"inputs must be \(n, c, h, w\) uint8 or uint16 images, got shape"):
        LEARNERS["logistic"]().fit(images, LABELS, 0)


@pytest.mark.parametrize("codes", [CODES[:, 0], CODES[:, :0], CODES.astype(np.float32), IMAGES], ids=str)
def test_code_learner_refuses_what_is_no_code(codes: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"inputs must be \(n, k\) float64 codes, got shape"):
        Prior().fit(codes, LABELS, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_codes_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="inputs must be finite"):
        Prior().fit(with_value(value), LABELS, 0)
    with pytest.raises(ValueError, match="inputs must be finite"):
        Prior().fit(CODES, LABELS, 0).predict_proba(with_value(value))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:-1], r"labels must be \(40,\) integers"),
        (LABELS.astype(float), r"labels must be \(40,\) integers"),
        (LABELS - 1, "labels must be 0 or more, got -1"),
        (np.ones(40, int), "labels must be of two classes or more, got 1 only"),
        (np.where(np.arange(40) < 2, 2, LABELS), "3 or more of each class, got 2 of class 2"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(labels: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Prior().fit(CODES, labels, 0)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="inputs must be 20 rows or more, got 19"):
        Prior().fit(CODES[:19], LABELS[:19], 0)


def test_fitting_returns_a_copy_and_leaves_the_settings_as_they_are() -> None:
    settings = Prior()
    fitted = settings.fit(CODES, LABELS, 0)
    assert fitted.classes == 2
    assert repr(fitted) == "Prior(2 classes)"
    with pytest.raises(ValueError, match="learner must be fitted"):
        settings.predict_proba(CODES)


def test_other_rows_than_those_fitted_are_refused() -> None:
    with pytest.raises(ValueError, match=r"rows of shape \(3,\), as fitted, got \(2,\)"):
        Prior().fit(CODES, LABELS, 0).predict_proba(CODES[:, :2])


def test_no_rows_give_no_probabilities() -> None:
    assert Prior().fit(CODES, LABELS, 0).predict_proba(CODES[:0]).shape == (0, 2)


@given(st.lists(st.integers(LOWEST_CLASS, 100), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_validation_is_a_tenth_and_leaves_every_class_in_training(counts: list[int], seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    held = validation_rows(labels, seed)
    assert abs(held.sum() - len(labels) / 10) <= 0.5
    for present in np.unique(labels):
        count = (labels == present).sum()
        assert abs(held[labels == present].sum() - count / 10) < 1
        assert (~held[labels == present]).any()


def test_validation_rows_depend_on_the_seed() -> None:
    assert not np.array_equal(validation_rows(np.tile(LABELS, 10), 0), validation_rows(np.tile(LABELS, 10), 1))

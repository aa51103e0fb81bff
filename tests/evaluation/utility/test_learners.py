"""Every learner: learns what is there, nothing where nothing is, the same again for the same seed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from veilray.evaluation.utility import LEARNERS, Learner, score
from veilray.evaluation.utility.networks import NetworkLearner

Part = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

IMAGE = ("logistic", "cnn", "resnet")
OWN = ("logistic", "cnn", "resnet", "code-logistic", "code-mlp")
"""The learners of this file; others are tested with what they are aware of."""


def quick(name: str, epochs: int) -> Learner:
    """A learner with a shorter schedule, where it has one."""
    learner = LEARNERS[name]()
    if isinstance(learner, NetworkLearner):
        shorter = dataclasses.replace(learner.schedule, most_epochs=epochs, fewest_epochs=epochs, learning_rate=6e-3)
        learner.schedule = shorter  # type: ignore[misc]
    return learner


@pytest.fixture
def data(request: pytest.FixtureRequest) -> Part:
    """What the learner named by the test takes: digits or their codes."""
    name = request.node.callspec.params["name"]
    return request.getfixturevalue("digits" if LEARNERS[name].space == "image" else "codes")  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("name", "epochs", "least"),
    [("logistic", 0, 0.9), ("cnn", 8, 0.9), ("resnet", 8, 0.9), ("code-logistic", 0, 0.8), ("code-mlp", 20, 0.8)],
)
def test_digits_are_learned(name: str, epochs: int, least: float, data: Part) -> None:
    assert score(quick(name, epochs), *data).value > least


@pytest.mark.parametrize("name", OWN)
def test_shuffled_labels_teach_nothing(name: str, data: Part) -> None:
    train, labels, test, test_labels = data
    shuffled = np.random.default_rng(0).permutation(labels)
    assert score(quick(name, 2), train, shuffled, test, test_labels).value < 0.25  # chance is .1


@pytest.mark.parametrize("name", OWN)
def test_equal_seeds_give_equal_learners(name: str, data: Part) -> None:
    train, labels, test, _ = (part[:200] for part in data)
    state = torch.random.get_rng_state()
    first, again = (quick(name, 1).fit(train, labels, 5).predict_proba(test) for _ in range(2))
    assert np.array_equal(first, again)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("name", ["cnn", "resnet", "code-mlp"])
def test_other_seeds_give_other_networks(name: str, data: Part) -> None:
    train, labels, test, _ = (part[:200] for part in data)
    one, other = (quick(name, 1).fit(train, labels, seed).predict_proba(test) for seed in (0, 1))
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("name", OWN)
def test_probabilities_sum_to_one_and_each_row_stands_alone(name: str, data: Part) -> None:
    train, labels, test, _ = (part[:200] for part in data)
    fitted = quick(name, 1).fit(train, labels, 0)
    together = fitted.predict_proba(test)
    assert together.shape == (200, 10)
    assert together.dtype == np.float64
    assert together.min() >= 0
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-12)
    alone = fitted.predict_proba(test[7:8])
    np.testing.assert_allclose(alone[0], together[7], atol=1e-4)


@pytest.mark.parametrize("name", OWN)
def test_a_class_that_never_occurs_keeps_its_column(name: str, data: Part) -> None:
    train, labels, test, _ = data
    seen = np.isin(labels, (0, 2))
    found = quick(name, 6).fit(train[seen], labels[seen], 0).predict_proba(test)
    assert found.shape == (len(test), 3)
    assert (found.argmax(axis=1) != 1).all()


@pytest.mark.parametrize("name", OWN)
def test_inputs_that_never_vary_are_no_error(name: str, data: Part) -> None:
    train, labels, _, _ = data
    constant = np.full_like(train[:60], 7)
    found = quick(name, 1).fit(constant, labels[:60] % 2, 0).predict_proba(constant)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", IMAGE)
def test_brightness_and_depth_do_not_matter(name: str, pair: Part) -> None:
    train, labels, test, _ = pair
    deep = [images.astype(np.uint16) * 200 + 1000 for images in (train, test)]
    shallow = quick(name, 1).fit(train, labels, 0).predict_proba(test)
    np.testing.assert_allclose(quick(name, 1).fit(deep[0], labels, 0).predict_proba(deep[1]), shallow, atol=1e-2)


@pytest.mark.parametrize("name", IMAGE)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 9), (1, 50, 33), (1, 64, 64)], ids=str)
def test_any_shape_is_taken(name: str, shape: tuple[int, int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (24, *shape)).astype(np.uint8)
    found = quick(name, 1).fit(images, np.arange(24) % 2, 0).predict_proba(images)
    assert found.shape == (24, 2)
    assert np.isfinite(found).all()

"""The public law of a code: its density, its draws, and what it is fitted to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import kstest, multivariate_normal

from veilray.codes import Reference
from veilray.privacy import SeededEntropy


def mixture(count: int, keep: int, seed: int) -> Reference:
    rng = np.random.default_rng(seed)
    roots = np.tril(0.4 * rng.standard_normal((count, keep, keep)), -1)
    roots[:, range(keep), range(keep)] = rng.uniform(0.3, 1.5, (count, keep))
    return Reference(rng.dirichlet(np.full(count, 3.0)), 2 * rng.standard_normal((count, keep)), roots)


def covariances(reference: Reference) -> np.ndarray:
    return reference.roots @ reference.roots.transpose(0, 2, 1)


@settings(max_examples=30)
@given(count=st.integers(1, 4), keep=st.integers(1, 5), seed=st.integers(0, 10_000))
def test_log_density_agrees_with_scipy(count: int, keep: int, seed: int) -> None:
    reference = mixture(count, keep, seed)
    rows = np.random.default_rng(seed).normal(0, 3, (7, keep))
    parts = zip(reference.weights, reference.means, covariances(reference), strict=True)
    expected = [np.log(weight) + multivariate_normal(mean, cov).logpdf(rows) for weight, mean, cov in parts]
    assert np.allclose(reference.log_density(rows), np.transpose(expected), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("keep", [1, 2])
def test_density_integrates_to_1(keep: int) -> None:
    reference = mixture(3, keep, seed=4)
    axis = np.linspace(-12, 12, 401)
    grid = np.stack(np.meshgrid(*[axis] * keep), axis=-1).reshape(-1, keep)
    total = np.exp(logsumexp(reference.log_density(grid), axis=1)).sum() * (axis[1] - axis[0]) ** keep
    assert total == pytest.approx(1, abs=1e-4)


@settings(max_examples=5)
@given(count=st.integers(1, 4), keep=st.integers(1, 4), seed=st.integers(0, 10_000))
def test_draws_have_the_moments_of_the_law(count: int, keep: int, seed: int) -> None:
    reference = mixture(count, keep, seed)
    rows = reference.sample(40_000, SeededEntropy(f"moments {seed}"))
    mean = reference.weights @ reference.means
    apart = reference.means - mean
    covariance = np.einsum("c,cij->ij", reference.weights, covariances(reference) + apart[:, :, None] * apart[:, None])
    scale = np.sqrt(np.diag(covariance))
    assert rows.shape == (40_000, keep)
    assert np.allclose(rows.mean(axis=0) / scale, mean / scale, atol=0.03)  # six standard errors
    assert np.allclose(
        np.cov(rows.T).reshape(keep, keep) / np.outer(scale, scale), covariance / np.outer(scale, scale), atol=0.06
    )


def test_draws_of_one_law_are_normal() -> None:
    reference = Reference(np.ones(1), np.array([[3.0]]), np.array([[[0.5]]]))
    assert kstest((reference.sample(5_000, SeededEntropy("one")) - 3)[:, 0] / 0.5, "norm").pvalue > 1e-3


def test_draws_are_those_of_the_entropy() -> None:
    reference = mixture(3, 2, seed=1)
    first, same, other = (reference.sample(5, SeededEntropy(key)) for key in ("a", "a", "b"))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_fit_finds_the_components() -> None:
    truth = Reference(np.array([0.3, 0.7]), np.array([[-4.0, 0.0], [4.0, 1.0]]), np.stack([np.eye(2), 0.5 * np.eye(2)]))
    rows = truth.sample(2_000, SeededEntropy("truth"))
    found = Reference.fit(rows)
    assert len(found.weights) > 1
    assert np.allclose(found.weights @ found.means, rows.mean(axis=0), atol=1e-6)
    held = truth.sample(2_000, SeededEntropy("held"))
    gap = logsumexp(truth.log_density(held), axis=1) - logsumexp(found.log_density(held), axis=1)
    assert gap.mean() < 0.1, "nats a row"


def test_one_cloud_is_one_component() -> None:
    rows = np.random.default_rng(0).standard_normal((1_000, 3))
    assert len(Reference.fit(rows).weights) == 1


def test_rows_that_are_not_finite_are_left_out() -> None:
    rows = np.random.default_rng(0).standard_normal((200, 2))
    spoilt = np.vstack([rows, [[np.nan, 0.0], [np.inf, 1.0]]])
    assert np.array_equal(Reference.fit(spoilt).means, Reference.fit(rows).means)


def test_first_is_the_marginal_law() -> None:
    reference = mixture(3, 4, seed=2)
    rows = np.random.default_rng(1).standard_normal((6, 2))
    parts = zip(reference.weights, reference.means[:, :2], covariances(reference)[:, :2, :2], strict=True)
    expected = [np.log(weight) + multivariate_normal(mean, cov).logpdf(rows) for weight, mean, cov in parts]
    assert np.allclose(reference.first(2).log_density(rows), np.transpose(expected))


def test_restored_is_the_same() -> None:
    reference = mixture(3, 4, seed=2)
    again = Reference.restored(reference.tensors())
    for name in ("weights", "means", "roots"):
        assert np.array_equal(getattr(again, name), getattr(reference, name))


def test_tensors_that_do_not_fit_are_refused() -> None:
    tensors = mixture(3, 4, seed=2).tensors()
    for name in tensors:
        with pytest.raises(ValueError, match="reference"):
            Reference.restored({**tensors, name: tensors[name][:2]})
        with pytest.raises(KeyError, match=name):
            Reference.restored({key: tensor for key, tensor in tensors.items() if key != name})

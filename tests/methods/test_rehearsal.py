"""Rehearsed releases: the law of the real mechanism, and one number for how much a release still says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp, kstest

from veilray.codes import Reference
from veilray.methods import rehearsal
from veilray.methods.rehearsal import EPSILONS, Rehearsal, alignment
from veilray.privacy import Claim, Mechanism, SeededEntropy
from veilray.privacy.mechanisms.directional import Directional
from veilray.privacy.mechanisms.laplace import Laplace

KEEP, ROWS = 4, 20_000


@pytest.fixture(scope="module")
def reference() -> Reference:
    codes = np.random.default_rng(0).normal(size=(400, KEEP)) * [2, 1, 0.5, 0.5] + [0.5, 0, 0, 0]
    return Reference.fit(codes)


def directional(epsilon: str, keep: int = KEEP) -> Directional:
    return Directional.calibrate(Claim.of(epsilon), keep)


def rehearsed(
    codes: np.ndarray, epsilon: str, reference: Reference, monkeypatch: pytest.MonkeyPatch, seed: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Rehearsed rows at one epsilon, and what the decoder is told of them."""
    monkeypatch.setattr(rehearsal, "EPSILONS", (epsilon,))
    drawn = Rehearsal(reference)(torch.from_numpy(codes), torch.Generator().manual_seed(seed)).double().numpy()
    return drawn[:, :-1], drawn[:, -1]


@pytest.mark.parametrize("keep", [2, 5])
@pytest.mark.parametrize("epsilon", ["0.5", "2", "8"])
def test_a_rehearsal_has_the_law_of_the_mechanism(epsilon: str, keep: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Along the code from either side of the threshold, across it from the prior, at the mechanism's own scale."""
    rng = np.random.default_rng(keep)
    row = rng.normal(size=keep)
    codes = np.tile(row, (ROWS, 1))
    reference = Reference(np.ones(1), np.zeros((1, keep)), np.eye(keep)[None])
    mechanism = directional(epsilon, keep)
    real = mechanism.to_prior(mechanism.release(codes, SeededEntropy(f"law {epsilon}")))
    made, _ = rehearsed(codes, epsilon, reference, monkeypatch)
    along = row / np.linalg.norm(row)
    across = np.linalg.svd(along[None])[2][1]
    slanted = rng.normal(size=keep)
    for direction in (along, across, slanted / np.linalg.norm(slanted)):
        first, second = real @ direction, made @ direction
        error = np.sqrt((first.var() + second.var()) / ROWS)
        assert abs(first.mean() - second.mean()) < 4 * error
        assert ks_2samp(first, second).pvalue > 1e-4
    assert ks_2samp((real**2).sum(axis=1), (made**2).sum(axis=1)).pvalue > 1e-4
    scale = float(mechanism.to_prior(np.ones((1, keep)))[0, 0])
    assert kstest(made @ across / scale, "norm").pvalue > 1e-4


def test_the_wrong_epsilon_would_be_seen(reference: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    row = np.array([1.0, 2, 0, -1])
    codes = np.tile(row, (ROWS, 1))
    made, _ = rehearsed(codes, "2", reference, monkeypatch)
    real = directional("2.5").release(codes, SeededEntropy(0))
    assert ks_2samp(real @ row, made @ row).pvalue < 1e-6


def test_every_epsilon_is_rehearsed_and_told(reference: Reference) -> None:
    codes = reference.sample(3000, SeededEntropy(0))
    drawn = Rehearsal(reference)(torch.from_numpy(codes), torch.Generator().manual_seed(0))
    assert (drawn.shape, drawn.dtype) == ((3000, KEEP + 1), torch.float32)
    expected = sorted(alignment(directional(epsilon), reference) for epsilon in EPSILONS)
    found, counts = np.unique(drawn[:, -1].double().numpy(), return_counts=True)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert counts.min() > 3000 / len(EPSILONS) * 0.8


def test_equal_generators_give_equal_rehearsals(reference: Reference) -> None:
    codes = torch.randn(5, KEEP, dtype=torch.float64)
    rehearse = Rehearsal(reference)
    first, again, other = (rehearse(codes, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_only_the_direction_is_rehearsed_and_a_zero_code_is_finite(reference: Reference) -> None:
    codes = torch.randn(5, KEEP, dtype=torch.float64)
    first, scaled = (Rehearsal(reference)(rows, torch.Generator().manual_seed(0)) for rows in (codes, codes * 1000))
    torch.testing.assert_close(first, scaled)
    assert bool(Rehearsal(reference)(torch.zeros(3, KEEP), torch.Generator()).isfinite().all())


def test_alignment_rises_with_epsilon_from_nothing_towards_one(reference: Reference) -> None:
    told = [alignment(directional(epsilon), reference) for epsilon in ("1/100", *EPSILONS)]
    assert told == sorted(told)
    assert abs(told[0]) < 0.05
    assert 0.7 < told[-1] < 1


def test_alignment_is_the_mean_cosine_of_releases(reference: Reference) -> None:
    mechanism = directional("4")
    rows = reference.sample(20_000, SeededEntropy(5))
    drawn = mechanism.release(rows, SeededEntropy(6))
    cosine = (rows * drawn).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(drawn, axis=1)
    assert abs(cosine.mean() - alignment(mechanism, reference)) < 4 * cosine.std() / np.sqrt(4096)


@pytest.mark.parametrize("kind", [Directional, Laplace])
def test_alignment_is_the_same_for_equal_mechanisms(kind: type[Mechanism], reference: Reference) -> None:
    first, again = (alignment(kind.calibrate(Claim.of("3"), KEEP), reference) for _ in range(2))
    assert first == again

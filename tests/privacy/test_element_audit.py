"""Attack the mechanisms with known inputs, and compare what can be proved about epsilon with what is claimed.

Honest mechanisms must be tight (a figure near the claim) and never above it; each broken one of the gallery must be
found by a named test.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import beta

from veilray.privacy import Claim, SeededEntropy, SystemEntropy
from veilray.privacy.mechanisms.gaussian import Gaussian
from veilray.privacy.mechanisms.laplace import Laplace

TRIALS = 1_000_000
REPORTED = 0.99
SURE = 1 - 1e-6 / 50
"""Confidence at which a bound above the claim fails: a wrong alarm in 10^6 over 50 audits."""

CLAIMS = [Fraction(1, 2), Fraction(1), Fraction(2), Fraction(4)]


def certified(right: int, guesses: int, confidence: float) -> float:
    """Epsilon that so many right guesses of a fair sign prove (Clopper and Pearson 1934)."""
    low = beta.ppf(1 - confidence, right, guesses - right + 1)
    return float(math.log(low / (1 - low)))


def audit(release, clip: float = 3.0, trials: int = TRIALS, seed: int = 1) -> tuple[int, int]:
    """x_j = +-C at random; the sign is guessed where |y_j| >= C. Right guesses, and guesses."""
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (trials // 1000, 1000))
    released = release(signs * clip)
    guessed = np.abs(released) >= clip
    return int((np.sign(released) == signs)[guessed].sum()), int(guessed.sum())


def laplace(epsilon: Fraction, **options: object) -> Laplace:
    return Laplace.calibrate(Claim(epsilon, unit="element"), 1000, **options)


@pytest.mark.parametrize("epsilon", CLAIMS)
def test_laplace_per_element_is_tight_and_never_above_its_claim(epsilon):
    mechanism = laplace(epsilon)
    right, guesses = audit(lambda x: mechanism.release(x, SystemEntropy()))
    assert certified(right, guesses, REPORTED) >= 0.9 * epsilon
    assert certified(right, guesses, SURE) <= epsilon


@pytest.mark.parametrize("epsilon", CLAIMS)
def test_laplace_on_a_ball_is_tight_and_never_above_its_claim(epsilon):
    mechanism = Laplace.calibrate(Claim(epsilon), 4, bound="l1-ball", radius=3)

    def release(x: np.ndarray) -> np.ndarray:
        rows = np.zeros((x.size, 4))
        rows[:, 2] = x.reshape(-1)
        return mechanism.release(rows, SystemEntropy())[:, 2].reshape(x.shape)

    right, guesses = audit(release, trials=400_000)
    assert certified(right, guesses, REPORTED) >= 0.9 * epsilon
    assert certified(right, guesses, SURE) <= epsilon


@pytest.mark.parametrize("epsilon", CLAIMS)
def test_gaussian_is_tight_in_mu_and_never_above_it(epsilon):
    # For the Gaussian family only: mu = Phi^-1(1 - FPR) - Phi^-1(FNR), both ends by Clopper and Pearson.
    mechanism = Gaussian.calibrate(Claim(epsilon, Fraction(1, 10**6)), 1, radius=3)
    mu = math.sqrt(mechanism.mu_squared)
    trials = TRIALS if epsilon >= 1 else 4 * TRIALS  # mu is .12 there: a million a side prove no more than .947 of it
    up, down = (mechanism.release(np.full((trials, 1), x), SystemEntropy()) for x in (3.0, -3.0))
    misses, alarms = int((up <= 0).sum()), int((down > 0).sum())

    def lower_mu(confidence: float) -> float:
        rates = [beta.ppf((1 + confidence) / 2, n + 1, trials - n) for n in (misses, alarms)]
        return float(-ndtri(rates[0]) - ndtri(rates[1]))

    assert lower_mu(REPORTED) >= 0.95 * mu
    assert lower_mu(SURE) <= mu


def test_inputs_far_outside_the_clip_change_nothing():
    mechanism = laplace(Fraction(4))
    right, guesses = audit(lambda x: mechanism.release(x * 1e300, SystemEntropy()))
    assert certified(right, guesses, SURE) <= 4


def found_broken(release, claim: float) -> bool:
    right, guesses = audit(release)
    return certified(right, guesses, SURE) > claim


def test_a_halved_scale_is_found():
    mechanism = laplace(Fraction(4))  # twice the epsilon: half the scale
    assert found_broken(lambda x: mechanism.release(x, SystemEntropy()), 2)


def test_a_missing_factor_of_two_is_found():
    # Sensitivity r for 2r: a box of 3 with the noise of a box of 1.5. The audit sees nearly twice the claim.
    narrow = laplace(Fraction(1), clip="3/2")

    def release(x: np.ndarray) -> np.ndarray:
        noise = narrow.release(np.zeros_like(x), SystemEntropy())
        return np.clip(x, -3, 3) + noise

    right, guesses = audit(release)
    assert certified(right, guesses, REPORTED) == pytest.approx(1.99, abs=0.02)
    assert found_broken(release, 1)


def test_a_doubled_scale_is_found_by_the_bar_for_tightness():
    mechanism = laplace(Fraction(1, 2))
    right, guesses = audit(lambda x: mechanism.release(x, SystemEntropy()))
    assert certified(right, guesses, REPORTED) < 0.9 * 1


def test_an_unclipped_latent_is_found():
    mechanism = laplace(Fraction(1))

    def release(x: np.ndarray) -> np.ndarray:
        return 10 * x + mechanism.release(np.zeros_like(x), SystemEntropy())

    assert found_broken(release, 1)


def test_a_kept_coordinate_is_found():
    mechanism = laplace(Fraction(1))

    def release(x: np.ndarray) -> np.ndarray:
        released = mechanism.release(x, SystemEntropy())
        released[:, 0] = x[:, 0]
        return released

    released = release(np.full((2000, 1000), 3.0))
    assert (released.std(axis=0) == 0).sum() == 1
    assert mechanism.release(np.full((2000, 1000), 3.0), SystemEntropy()).std(axis=0).min() > 0


def joint_epsilon(release, claim: float) -> float:
    """(C, C) against (C, -C), event on y_i - y_j: what noise shared by pairs of coordinates cannot pass."""
    same, apart = np.full((1000, 500), 3.0), np.full((1000, 500), 3.0)
    apart[:, 1::2] = -3.0
    released = [release(x) for x in (same, apart)]
    gaps = [np.abs(y[:, ::2] - y[:, 1::2]) for y in released]
    hits, other = (int((gap < 0.02).sum()) for gap in gaps)
    count = gaps[0].size
    low = beta.ppf(1 - SURE, hits, count - hits + 1) if hits else 0.0
    high = beta.ppf(SURE, other + 1, count - other)
    return math.log(low / high) if low > high else 0.0


def test_noise_shared_by_pairs_passes_the_marginal_audit_and_fails_the_joint_one():
    mechanism = laplace(Fraction(4))

    def shared(x: np.ndarray) -> np.ndarray:
        half = mechanism.release(np.zeros((len(x), 1000)), SystemEntropy())[:, : x.shape[1] // 2]
        return x + np.repeat(half, 2, axis=1)

    right, guesses = audit(shared)
    assert certified(right, guesses, SURE) <= 4
    assert joint_epsilon(shared, 4) > 4
    honest = Laplace.calibrate(Claim.of(4, unit="element"), 500)
    assert joint_epsilon(lambda x: honest.release(x, SystemEntropy()), 4) <= 4


def test_a_fixed_seed_is_found():
    mechanism = laplace(Fraction(1))
    latent = np.zeros((3, 1000))

    def repeats(entropy) -> bool:
        return np.array_equal(mechanism.release(latent, entropy()), mechanism.release(latent, entropy()))

    assert not repeats(SystemEntropy)
    assert repeats(lambda: SeededEntropy(0))  # the mutation; the release pipeline refuses the type


def test_coupled_rows_are_found():
    mechanism = laplace(Fraction(1))

    def rows_differ(release) -> bool:
        noise = release(np.zeros((400, 1000)))
        covariance = np.corrcoef(noise)
        return bool(np.abs(covariance - np.eye(400)).max() < 0.25)

    assert rows_differ(lambda x: mechanism.release(x, SystemEntropy()))
    assert not rows_differ(lambda x: np.repeat(mechanism.release(x[::2], SystemEntropy()), 2, axis=0))


def test_a_zero_latent_is_released_like_any_other():
    mechanism = laplace(Fraction(1))
    for row in (np.zeros(1000), np.full(1000, math.nan), np.full(1000, math.inf)):
        released = mechanism.release(row[None], SystemEntropy())
        assert np.isfinite(released).all()
        assert np.abs(released).mean() == pytest.approx(6, rel=0.3)


def test_without_the_finite_rule_a_nan_row_tells_itself(monkeypatch):
    mechanism = laplace(Fraction(1))
    monkeypatch.setattr("veilray.privacy.bounds.finite_rows", lambda rows: rows)  # the mutation
    with np.errstate(invalid="ignore"):
        bounded = mechanism.bound(np.full((1, 1000), math.nan))
    assert bounded.any()  # not the public zero row

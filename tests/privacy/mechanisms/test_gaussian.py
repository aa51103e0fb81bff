"""The Gaussian mechanism: what it charges, states, draws and refuses."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from veilray.privacy import MECHANISMS, Claim, SeededEntropy, SystemEntropy
from veilray.privacy.calibration import gaussian_delta, round_up, sqrt_up
from veilray.privacy.mechanisms.gaussian import Gaussian

EPSILONS = st.fractions(min_value=Fraction(1, 100), max_value=64, max_denominator=1000)
DELTAS = st.sampled_from([Fraction(1, 10**3), Fraction(1, 10**6), Fraction(1, 10**12)])


def test_is_registered():
    assert MECHANISMS["gaussian"] is Gaussian


@given(EPSILONS, DELTAS, st.integers(1, 20_000), st.sampled_from(["box", "l2-ball"]))
@settings(max_examples=25, deadline=None)
def test_the_noise_keeps_the_claim_and_hardly_more(epsilon, delta, dimension, bound):
    mechanism = Gaussian.calibrate(Claim(epsilon, delta), dimension, bound=bound)
    mu = sqrt_up(mechanism.mu_squared, 100)
    assert gaussian_delta(epsilon, mu) <= round_up(delta * (1 + Fraction(1, 2**40)))
    assert gaussian_delta(epsilon, mu * (1 + Fraction(1, 10**8))) > delta


@given(EPSILONS, DELTAS, st.integers(2, 5000))
@settings(max_examples=15, deadline=None)
def test_an_element_claim_states_the_image_at_the_same_delta(epsilon, delta, dimension):
    stated = Gaussian.calibrate(Claim(epsilon, delta, "element"), dimension).guarantee(dimension)
    assert (stated.unit, stated.epsilon, stated.delta) == ("element", epsilon, delta)
    assert (stated.element_epsilon, stated.image_delta) == (epsilon, delta)
    mu = sqrt_up(Fraction(stated.parameters["mu_squared"]))
    assert gaussian_delta(stated.image_epsilon, mu) <= round_up(delta)
    assert stated.image_epsilon > epsilon


def test_a_box_states_an_element_figure_and_a_ball_none():
    box = Gaussian.calibrate(Claim.of(8, "1e-6"), 1024, bound="box").guarantee(1024)
    assert float(box.element_epsilon) == pytest.approx(0.1806, abs=1e-3)
    ball = Gaussian.calibrate(Claim.of(8, "1e-6"), 1024).guarantee(1024)
    assert ball.element_epsilon is None
    assert (ball.bound.kind, ball.bound.radius) == ("l2-ball", 32)


def test_parameters_hold_mu_and_rho_of_the_image():
    mechanism = Gaussian.calibrate(Claim.of(1, "1e-6"), 64)
    stated = mechanism.guarantee(64).parameters
    assert Fraction(stated["mu_squared"]) == 4 * 64 / mechanism.sigma**2
    assert Fraction(stated["rho"]) == Fraction(stated["mu_squared"]) / 2
    assert Fraction(stated["mu"]) ** 2 >= Fraction(stated["mu_squared"])
    assert stated["sigma"] == str(mechanism.sigma)
    assert float(mechanism.sigma) == pytest.approx(16 * 4.2247, rel=1e-4)


@pytest.mark.parametrize("entropy", [SeededEntropy(1), SystemEntropy()], ids=["seeded", "system"])
def test_releases_lie_on_the_grid_around_the_latent(entropy):
    mechanism = Gaussian.calibrate(Claim.of(8, "1e-6"), 500)
    released = mechanism.release(np.full((200, 500), 0.5), entropy)
    assert released.dtype == np.float64
    assert (released * 256 % 1 == 0).all()
    assert released.std() == pytest.approx(float(mechanism.sigma), rel=0.02)
    assert released.mean() == pytest.approx(0.5, abs=6 * float(mechanism.sigma) / math.sqrt(1e5))


def test_likelihood_normalises_and_agrees_with_frequencies(fits):
    mechanism = Gaussian.calibrate(Claim.of(4, "1e-3"), 1, bound="box", clip=1, grid_bits=1)
    outputs = np.arange(-200, 201)
    for latent in (-1.0, 0.2, 7.0):
        law = np.exp(mechanism.log_likelihood(outputs[:, None] / 2, np.array([[latent]])))
        assert law.sum() == pytest.approx(1, abs=1e-12)
        released = mechanism.release(np.full((200_000, 1), latent), SystemEntropy())
        counts = np.bincount((released[:, 0] * 2).astype(int) + 200, minlength=401)
        assert fits(counts, law)


def test_delta_of_the_enumerated_outputs_is_within_the_claim():
    # Exactly what the claim says, summed over all outputs of a small mechanism.
    epsilon, delta = Fraction(1), Fraction(1, 1000)
    mechanism = Gaussian.calibrate(Claim(epsilon, delta, "element"), 1, clip=1, grid_bits=4)
    reach = math.ceil(60 * mechanism.sigma) * 16
    outputs = np.arange(-reach, reach + 1)[:, None] / 16
    p, q = (np.exp(mechanism.log_likelihood(outputs, np.array([[c]]))) for c in (1.0, -1.0))
    found = np.maximum(p - math.e * q, 0).sum()
    assert 0.99 * float(delta) <= found <= float(delta) * (1 + 1e-9)
    halved = Gaussian.calibrate(Claim(2 * epsilon, delta, "element"), 1, clip=1, grid_bits=4)  # the mutation
    p, q = (np.exp(halved.log_likelihood(outputs, np.array([[c]]))) for c in (1.0, -1.0))
    assert np.maximum(p - math.e * q, 0).sum() > 10 * float(delta)


def test_a_rows_release_does_not_depend_on_other_rows():
    mechanism = Gaussian.calibrate(Claim.of(8, "1e-6"), 64)
    latent = np.random.default_rng(0).normal(size=(5, 64))
    other = latent.copy()
    other[[0, 1, 2, 4]] = math.inf
    released = mechanism.release(latent, SeededEntropy(3))
    assert np.array_equal(released[3], mechanism.release(other, SeededEntropy(3))[3])
    assert np.array_equal(released[:2], mechanism.release(latent[:2], SeededEntropy(3)))


def test_to_prior_brings_a_normal_latent_back_to_unit_spread(fits):
    latent = np.random.default_rng(0).normal(size=(100, 2000))
    mechanism = Gaussian.calibrate(Claim.of(8, "1e-6", "element"), 2000, clip=8)
    restored = mechanism.to_prior(mechanism.release(latent, SeededEntropy(1)))
    assert fits(np.histogram(ndtr(restored), bins=50, range=(0, 1))[0], np.full(50, 1 / 50))


@pytest.mark.parametrize(
    ("claim", "options", "message"),
    [
        (Claim.of(1), {}, "give one well below 1 / patients"),
        (Claim.of(1, "1e-6", "element"), {"bound": "l2-ball"}, "use bound box, or unit image"),
        (Claim.of(1, "1e-6"), {"bound": "l1-ball"}, "bound must be one of l2-ball, box"),
        (Claim.of(1, "1e-6"), {"clip": 3}, "give radius instead"),
        (Claim.of(1, "1e-6"), {"decode": "scale"}, "options of gaussian must be among"),
    ],
)
def test_refusals_name_the_cure(claim, options, message):
    with pytest.raises(ValueError, match=message):
        Gaussian.calibrate(claim, 4, **options)


def test_another_dimension_is_refused():
    with pytest.raises(ValueError, match="dimension must be 4"):
        Gaussian.calibrate(Claim.of(1, "1e-6"), 4).guarantee(5)


def test_a_mechanism_travels_to_another_process():
    mechanism = Gaussian.calibrate(Claim.of(8, "1e-6"), 64)
    sent = pickle.loads(pickle.dumps(mechanism))
    assert np.array_equal(
        sent.release(np.ones((2, 64)), SeededEntropy(1)), mechanism.release(np.ones((2, 64)), SeededEntropy(1))
    )

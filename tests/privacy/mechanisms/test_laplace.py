"""The Laplace mechanism: what it charges, states, draws and refuses."""

from __future__ import annotations

import itertools
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilray.privacy import MECHANISMS, Claim, SeededEntropy, SystemEntropy
from veilray.privacy.mechanisms.laplace import Laplace
from veilray.privacy.normal_tail import exp_between

EPSILONS = st.fractions(min_value=Fraction(1, 1000), max_value=100, max_denominator=10**6)


def small(epsilon: str = "1", **options: object) -> Laplace:
    """A mechanism of which every output can be listed."""
    return Laplace.calibrate(Claim.of(epsilon, unit="element"), 1, **{"clip": 1, "grid_bits": 1, **options})


def test_is_registered():
    assert MECHANISMS["laplace"] is Laplace


@given(EPSILONS, st.integers(1, 10**5), st.sampled_from(["box", "l1-ball"]), st.integers(6, 10))
@settings(max_examples=80, deadline=None)
def test_what_is_spent_is_within_the_claim_as_fractions_and_close_to_it(epsilon, dimension, bound, bits):
    mechanism = Laplace.calibrate(Claim(epsilon), dimension, bound=bound, grid_bits=bits)
    assert mechanism.spent <= mechanism.guarantee(dimension).image_epsilon == epsilon
    assert mechanism.spent >= epsilon * (1 - Fraction(1, 10**9))


@given(EPSILONS, st.integers(1, 10**5))
@settings(max_examples=40, deadline=None)
def test_an_element_claim_costs_the_image_d_times_as_much(epsilon, dimension):
    mechanism = Laplace.calibrate(Claim(epsilon, unit="element"), dimension)
    stated = mechanism.guarantee(dimension)
    assert (stated.epsilon, stated.element_epsilon, stated.image_epsilon) == (epsilon, epsilon, dimension * epsilon)
    assert mechanism.spent <= stated.image_epsilon


def test_both_figures_stand_in_an_image_claim_too():
    stated = Laplace.calibrate(Claim.of(8), 64).guarantee(64)
    assert (stated.unit, stated.image_epsilon, stated.element_epsilon) == ("image", 8, Fraction(1, 8))
    ball = Laplace.calibrate(Claim.of(8), 64, bound="l1-ball").guarantee(64)
    assert (ball.image_epsilon, ball.element_epsilon) == (8, None)


def test_parameters_are_exact_text():
    mechanism = Laplace.calibrate(Claim.of("0.5", unit="element"), 64, clip="2.5", grid_bits="10")
    stated = mechanism.guarantee(64)
    assert stated.parameters == {
        "bound": "box",
        "clip": "5/2",
        "grid_bits": "10",
        "noise": "half-integer discrete laplace",
        "scale": str(mechanism.scale),
        "digits": "21",
    }
    assert stated.bound.radius == Fraction(5, 2)
    assert float(Fraction(stated.parameters["scale"])) == pytest.approx(10)  # 2 * 2.5 / 0.5


@pytest.mark.parametrize("entropy", [SeededEntropy(1), SystemEntropy()], ids=["seeded", "system"])
def test_releases_are_odd_half_steps_of_the_grid_around_the_latent(entropy):
    mechanism = Laplace.calibrate(Claim.of("0.5", unit="element"), 500)
    latent = np.full((200, 500), 1.0)
    released = mechanism.release(latent, entropy)
    assert released.dtype == np.float64
    assert (released * 512 % 2 == 1).all()
    scale = float(mechanism.scale)
    assert np.abs(released - 1).mean() == pytest.approx(scale, rel=0.02)
    assert np.median(released) == pytest.approx(1, abs=0.03 * scale)


def test_the_ball_needs_noise_of_twice_its_radius():
    mechanism = Laplace.calibrate(Claim.of(4), 64, bound="l1-ball", radius=10)
    assert float(mechanism.scale) == pytest.approx(2 * 10 / 4)


@pytest.mark.parametrize(("bound", "size"), [("box", {"clip": "1/2"}), ("l1-ball", {"radius": 1})])
def test_the_worst_ratio_over_all_pairs_and_outputs_of_two_elements(bound, size):
    # Every pair of bounded rows and every pair of outputs of a tiny mechanism, from its own likelihood.
    mechanism = Laplace.calibrate(Claim.of(2), 2, bound=bound, grid_bits=1, **size)
    grid = mechanism._grid
    q = np.array(list(itertools.product(range(-grid.size, grid.size + 1), repeat=2)))
    q = q[grid.contains(q)]
    y = np.arange(-mechanism._noise.limit, mechanism._noise.limit)
    table = mechanism._noise.log_probability(y[:, None], np.arange(-grid.size, grid.size + 1))
    worst = 0.0
    for a, b in itertools.product(q, repeat=2):
        loss = table[:, a + grid.size] - table[:, b + grid.size]
        worst = max(worst, loss[:, 0].max() + loss[:, 1].max())
    assert 2 * 0.99 <= worst <= 2 + 1e-9


def test_a_scale_for_r_instead_of_twice_r_is_caught_by_the_worst_ratio():
    honest, cheap = small("1"), small("2")  # the mutation claims 1 with the noise of 2
    for mechanism, kept in ((honest, True), (cheap, False)):
        y = np.arange(-mechanism._noise.limit, mechanism._noise.limit)
        c = mechanism._grid.size
        loss = mechanism._noise.log_probability(y, np.full(y.shape, c))
        loss = loss - mechanism._noise.log_probability(y, np.full(y.shape, -c))
        assert (math.exp(loss.max()) <= exp_between(Fraction(1))[1] * Fraction(1 + 1e-9)) == kept


def test_likelihood_normalises_and_agrees_with_frequencies(fits):
    mechanism = small("1")
    limit = mechanism._noise.limit
    outputs = (np.arange(-limit, limit) + 0.5)[:, None] / 2
    for latent in (-1.0, 0.2, 7.0):
        law = np.exp(mechanism.log_likelihood(outputs, np.array([[latent]])))
        assert law.sum() == pytest.approx(1, abs=1e-12)
        released = mechanism.release(np.full((200_000, 1), latent), SystemEntropy())
        counts = np.bincount((released[:, 0] * 2 - 0.5).astype(int) + limit, minlength=2 * limit)
        assert fits(counts, law)


def test_likelihood_is_the_sum_over_elements_and_repeats_single_rows():
    mechanism = Laplace.calibrate(Claim.of(8), 16)
    generator = np.random.default_rng(0)
    latent = generator.normal(size=(6, 16))
    released = mechanism.release(latent, SystemEntropy())
    each = [mechanism.log_likelihood(released[i : i + 1], latent[i : i + 1])[0] for i in range(6)]
    assert mechanism.log_likelihood(released, latent) == pytest.approx(each)
    assert mechanism.log_likelihood(released[:1], latent)[0] == pytest.approx(each[0])
    assert mechanism.log_likelihood(released, latent[:1])[0] == pytest.approx(each[0])
    assert mechanism.log_likelihood(released[:0], latent[:1]).shape == (0,)


def test_likelihood_in_parts_is_the_same(monkeypatch):
    mechanism = Laplace.calibrate(Claim.of(8), 16)
    latent = np.random.default_rng(0).normal(size=(9, 16))
    released = mechanism.release(latent, SystemEntropy())
    whole = mechanism.log_likelihood(released, latent)
    monkeypatch.setattr("veilray.privacy.mechanisms.grid._ELEMENTS_AT_ONCE", 40)
    assert np.array_equal(mechanism.log_likelihood(released, latent), whole)


def test_outputs_beyond_the_clamp_are_impossible():
    mechanism = small("1")
    beyond = (mechanism._noise.limit + 0.5) / 2
    assert mechanism.log_likelihood(np.array([[beyond]]), np.zeros((1, 1)))[0] == -math.inf


def test_likelihood_refuses_what_is_off_the_grid():
    mechanism = Laplace.calibrate(Claim.of(8), 4)
    with pytest.raises(ValueError, match="before to_prior"):
        mechanism.log_likelihood(np.full((1, 4), 0.3), np.zeros((1, 4)))
    with pytest.raises(ValueError, match="equal rows"):
        mechanism.log_likelihood(np.full((2, 4), 0.5 / 256), np.zeros((3, 4)))


@pytest.mark.parametrize("bound", ["box", "l1-ball"])
def test_a_rows_release_does_not_depend_on_other_rows(bound):
    mechanism = Laplace.calibrate(Claim.of(8), 64, bound=bound)
    generator = np.random.default_rng(0)
    latent = generator.normal(size=(5, 64))
    other = latent.copy()
    other[[0, 1, 2, 4]] = math.nan
    released = mechanism.release(latent, SeededEntropy(3))
    assert np.array_equal(released[3], mechanism.release(other, SeededEntropy(3))[3])
    assert np.array_equal(released[:2], mechanism.release(latent[:2], SeededEntropy(3)))
    assert np.isfinite(mechanism.release(other, SeededEntropy(3))).all()


def test_two_releases_of_one_latent_differ():
    mechanism, latent, seeded = Laplace.calibrate(Claim.of(8), 64), np.zeros((2, 64)), SeededEntropy(3)
    for entropy in (SystemEntropy(), seeded):
        first, second = mechanism.release(latent, entropy), mechanism.release(latent, entropy)
        assert not (first == second).all(axis=1).any()
        assert not np.array_equal(first[0], first[1])


def test_a_row_that_escaped_the_bound_is_bounded_again():
    mechanism = Laplace.calibrate(Claim.of(8), 4)
    outside = np.full((1, 4), 10**12)
    inside = mechanism.bound(np.full((1, 4), 1e300))
    assert np.array_equal(mechanism.randomise(outside, SeededEntropy(1)), mechanism.randomise(inside, SeededEntropy(1)))


def test_unbounded_floats_are_refused_by_type():
    mechanism = Laplace.calibrate(Claim.of(8), 4)
    with pytest.raises(ValueError, match="as bound\\(\\) returns them"):
        mechanism.randomise(np.zeros((1, 4)), SystemEntropy())


def test_to_prior_brings_a_normal_latent_back_to_the_normal_law(fits):
    latent = np.random.default_rng(0).normal(size=(100, 2000))
    for epsilon in (1, 8, 60):
        mechanism = Laplace.calibrate(Claim.of(epsilon, unit="element"), 2000, clip=8, grid_bits=12)
        restored = mechanism.to_prior(mechanism.release(latent, SeededEntropy(1)))
        from scipy.special import ndtr

        assert fits(np.histogram(ndtr(restored), bins=50, range=(0, 1))[0], np.full(50, 1 / 50))
    scaled = Laplace.calibrate(Claim.of(4, unit="element"), 2000, clip=8, decode="scale")
    assert scaled.to_prior(scaled.release(latent, SeededEntropy(1))).std() == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize(
    ("claim", "options", "message"),
    [
        (Claim.of(1, "1e-6"), {}, "use mechanism gaussian"),
        (Claim.of(1, unit="element"), {"bound": "l1-ball"}, "use bound box, or unit image"),
        (Claim.of(1), {"bound": "l2-ball"}, "bound must be one of box, l1-ball"),
        (Claim.of(1), {"radius": 3}, "give clip instead"),
        (Claim.of(1), {"bound": "l1-ball", "clip": 3}, "give radius instead"),
        (Claim.of(1), {"clip": 0.5}, "clip must be exact"),
        (Claim.of(1), {"grid_bits": "17/2"}, "grid_bits must be an integer"),
        (Claim.of(1), {"decode": "mean"}, "decode must be quantile or scale"),
        (Claim.of(1), {"sigma": 1}, "options of laplace must be among"),
        (Claim.of(10**6, unit="element"), {}, "epsilon must be at most 10,000"),
        (Claim(Fraction(1, 2**89)), {}, "epsilon must be above"),
        (Claim(Fraction(1, 2**60)), {}, "fewer grid bits or a larger epsilon"),
    ],
)
def test_refusals_name_the_cure(claim, options, message):
    with pytest.raises(ValueError, match=message):
        Laplace.calibrate(claim, 4, **options)


def test_other_shapes_and_dimensions_are_refused():
    mechanism = Laplace.calibrate(Claim.of(1), 4)
    with pytest.raises(ValueError, match=r"latent must be \(n, 4\)"):
        mechanism.bound(np.zeros((1, 5)))
    with pytest.raises(ValueError, match="dimension must be 4"):
        mechanism.guarantee(5)


def test_a_mechanism_travels_to_another_process():
    mechanism = Laplace.calibrate(Claim.of(8), 64)
    latent = np.ones((2, 64))
    sent = pickle.loads(pickle.dumps(mechanism))
    assert np.array_equal(sent.release(latent, SeededEntropy(1)), mechanism.release(latent, SeededEntropy(1)))

"""Adding claims up: exact sums, known figures, the order of the ledgers, refusals."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from veilray.privacy import composition
from veilray.privacy.composition import (
    Approximate,
    Gaussian,
    Laplace,
    Pure,
    Total,
    delta_of_gdp,
    epsilon_of_gdp,
    epsilon_of_zcdp,
    events_of,
    gdp_squared,
    reported_epsilon,
    total,
    total_in_gdp,
    worst_patient,
    zcdp,
)
from veilray.privacy.guarantee import Bound, ConditionPolicy, Guarantee
from veilray.privacy.mechanisms import MECHANISMS, Claim

MILLIONTH = Fraction(1, 10**6)
ONE = Fraction(1)


def deviation_for(epsilon: Fraction, delta: Fraction) -> Fraction:
    """The smallest deviation on a grid of 2^-40 that gives (epsilon, delta) at sensitivity 1."""
    low, high = ONE / 100, Fraction(100)
    while high - low > Fraction(1, 2**40):
        middle = (low + high) / 2
        low, high = (low, middle) if delta_of_gdp(1 / middle**2, epsilon) <= delta else (middle, high)
    return high


@pytest.fixture(scope="module")
def tuned() -> Gaussian:
    """One Gaussian release calibrated for (1, 1e-6)."""
    return Gaussian(mu_squared=1 / deviation_for(ONE, MILLIONTH) ** 2, epsilon=ONE, delta=MILLIONTH)


@pytest.mark.parametrize(("count", "figure"), [(5, 2.400), (20, 5.214), (100, 13.507)])
def test_gaussian_releases_compose_to_the_known_figures(tuned: Gaussian, count: int, figure: float) -> None:
    many = dataclasses.replace(tuned, count=count)
    assert float(total_in_gdp([many], MILLIONTH).epsilon) == pytest.approx(figure, abs=5e-4)
    assert reported_epsilon([many], MILLIONTH) == pytest.approx(figure, abs=2e-3)
    assert gdp_squared([tuned] * count) == gdp_squared([many]) == count * tuned.mu_squared


def test_a_thousand_laplace_elements_state_both_figures() -> None:
    elements = Laplace(sensitivity=ONE, scale=Fraction(16), count=1024)
    assert total([elements]) == Total(Fraction(64), Fraction(0))
    assert reported_epsilon([elements], MILLIONTH) == pytest.approx(10.83, abs=0.01)


@given(st.lists(st.fractions(Fraction(1, 1000), 100), min_size=1, max_size=30))
def test_sums_are_exact_in_any_order(epsilons: list[Fraction]) -> None:
    forward, backward = ([Pure(epsilon=e) for e in order] for order in (epsilons, epsilons[::-1]))
    assert total(forward).epsilon == total(backward).epsilon == sum(epsilons)
    tenths = [Pure(epsilon=Fraction(1, 10))] * 10
    assert total(tenths).epsilon == 1 != sum([0.1] * 10)


def test_deltas_add_and_never_exceed_one(tuned: Gaussian) -> None:
    assert total([tuned, tuned, Pure(epsilon=ONE)]) == Total(Fraction(3), 2 * MILLIONTH)
    assert total([Approximate(epsilon=ONE, delta=Fraction(1, 2), count=5)]).delta == 1


@settings(deadline=None, max_examples=25)
@given(mu=st.fractions(Fraction(1, 10), 8, max_denominator=100), epsilon=st.fractions(0, 20, max_denominator=100))
def test_delta_of_gdp_is_the_analytic_gaussian_rounded_up(mu: Fraction, epsilon: Fraction) -> None:
    m, e = float(mu), float(epsilon)
    plain = norm.cdf(m / 2 - e / m) - math.exp(e) * norm.cdf(-m / 2 - e / m)
    exactly = delta_of_gdp(mu**2, epsilon)
    assert float(exactly) == pytest.approx(plain, rel=1e-6, abs=1e-12)


@settings(deadline=None, max_examples=15)
@given(mu=st.fractions(Fraction(1, 10), 8, max_denominator=100))
def test_epsilon_of_gdp_keeps_delta_and_no_smaller_one_does(mu: Fraction) -> None:
    epsilon = epsilon_of_gdp(mu**2, MILLIONTH)
    assert delta_of_gdp(mu**2, epsilon) <= MILLIONTH
    assert epsilon == 0 or delta_of_gdp(mu**2, epsilon - Fraction(1, 2**40)) > MILLIONTH


def test_the_classical_gaussian_constant_would_be_refused() -> None:
    """sqrt(2 ln(1.25 / delta)) / eps is too small at epsilon 64: .083 where .132 is needed."""
    classical = Fraction(math.sqrt(2 * math.log(1.25 / 1e-6)) / 64)
    with pytest.raises(ValueError, match="deviation is too small for this claim"):
        Gaussian(mu_squared=1 / classical**2, epsilon=Fraction(64), delta=MILLIONTH)
    assert float(classical) == pytest.approx(0.083, abs=5e-4)
    assert float(deviation_for(Fraction(64), MILLIONTH)) == pytest.approx(0.132, abs=5e-4)


@settings(deadline=None, max_examples=15)
@given(epsilon=st.fractions(Fraction(1, 100), 12, max_denominator=100))
def test_a_pure_release_lies_above_its_gaussian_curve(epsilon: Fraction) -> None:
    """The trade-off curve of epsilon-DP against that of the mu charged for it, over a grid."""
    mu, e = math.sqrt(gdp_squared([Pure(epsilon=epsilon)])), float(epsilon)
    for step in range(1, 400):
        alpha = step / 400
        pure = max(0.0, 1 - math.exp(e) * alpha, math.exp(-e) * (1 - alpha))
        assert norm.cdf(norm.ppf(1 - alpha) - mu) <= pure + 1e-12


def test_zcdp_adds_exactly_and_its_reading_is_never_below_the_gaussian_one(tuned: Gaussian) -> None:
    radius, sigma = Fraction(3), Fraction(40)
    ball = Gaussian(mu_squared=(2 * radius / sigma) ** 2, epsilon=ONE, delta=MILLIONTH)
    assert zcdp([ball]) == 2 * radius**2 / sigma**2
    assert zcdp([ball, ball, Pure(epsilon=Fraction(1, 2))]) == 4 * radius**2 / sigma**2 + Fraction(1, 8)
    many = [dataclasses.replace(tuned, count=20)]
    assert epsilon_of_zcdp(zcdp(many), MILLIONTH) >= total_in_gdp(many, MILLIONTH).epsilon
    assert float(epsilon_of_zcdp(Fraction(1, 2), MILLIONTH)) == pytest.approx(0.5 + 2 * math.sqrt(0.5 * math.log(1e6)))


def test_the_reported_figure_is_below_the_sum_for_a_mixed_list(tuned: Gaussian) -> None:
    mixed = [
        dataclasses.replace(tuned, count=3),
        Pure(epsilon=Fraction(1, 4), count=40),
        Laplace(sensitivity=ONE, scale=Fraction(4), count=10),
        Approximate(epsilon=Fraction(1, 2), delta=Fraction(1, 10**8)),
    ]
    assert reported_epsilon(mixed, Fraction(1, 10**5)) < total(mixed).epsilon == 16
    alone = [Pure(epsilon=Fraction(2))]
    assert reported_epsilon(alone, MILLIONTH) == pytest.approx(2, abs=1e-3)


def test_a_data_set_is_its_worst_patient_and_not_the_sum() -> None:
    patients = {
        "a": [Pure(epsilon=Fraction(4), count=30)],
        "b": [Approximate(epsilon=ONE, delta=MILLIONTH)] * 2,
        "c": [Pure(epsilon=Fraction(4))],
    }
    assert worst_patient(patients) == ("a", Total(Fraction(120), 2 * MILLIONTH))
    assert worst_patient({}) == (None, Total(Fraction(0), Fraction(0)))


def claim(**changes: object) -> Guarantee:
    given_ = {"unit": "image", "epsilon": 4, "image_epsilon": 4, "bound": Bound(kind="direction"), "dimension": 8}
    return Guarantee(**(given_ | {"mechanism": "directional"} | changes))  # type: ignore[arg-type]


def test_an_image_counts_with_its_randomised_conditions() -> None:
    label = ConditionPolicy(policy="randomised", epsilon=ONE, levels=3)  # type: ignore[arg-type]
    assert events_of(claim(conditions={"label": label})) == (Pure(epsilon=Fraction(4)), Pure(epsilon=ONE))
    approximate = claim(delta=MILLIONTH, image_delta=MILLIONTH, mechanism="another")
    assert events_of(approximate) == (Approximate(epsilon=Fraction(4), delta=MILLIONTH),)


@pytest.mark.parametrize("unit", ["image", "element"])
def test_a_gaussian_claim_keeps_its_exact_mu(unit: str) -> None:
    mechanism = MECHANISMS["gaussian"].calibrate(Claim.of(2, "1e-6", unit), 16)  # type: ignore[arg-type]
    (event,) = events_of(mechanism.guarantee(16))
    assert isinstance(event, Gaussian)
    assert str(event.mu_squared) == mechanism.guarantee(16).parameters["mu_squared"]
    assert total_in_gdp([event], MILLIONTH).epsilon <= mechanism.guarantee(16).image_epsilon + Fraction(1, 2**40)


@dataclasses.dataclass(frozen=True)
class Unheard:
    epsilon: Fraction = ONE


@pytest.mark.parametrize("count_up", [total, gdp_squared, zcdp])
def test_an_unknown_event_is_refused(count_up: object) -> None:
    with pytest.raises(ValueError, match="composition here is known, got Unheard"):
        count_up([Unheard()])  # type: ignore[operator]
    with pytest.raises(ValueError, match="got Unheard"):
        reported_epsilon([Unheard()], MILLIONTH)  # type: ignore[list-item]


@pytest.mark.parametrize("count_up", [gdp_squared, zcdp])
def test_a_bare_epsilon_and_delta_has_no_gaussian_total(count_up: object) -> None:
    with pytest.raises(ValueError, match="adds in `total` only"):
        count_up([Approximate(epsilon=ONE, delta=MILLIONTH)])  # type: ignore[operator]


@pytest.mark.parametrize("wrong", [0.5, Fraction(0), Fraction(-1)])
def test_events_take_exact_positive_parameters_only(wrong: object) -> None:
    with pytest.raises(ValueError, match="epsilon must be"):
        Pure(epsilon=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="count must be at least 1"):
        Pure(epsilon=ONE, count=0)


def test_events_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Pure(epsilon=ONE).epsilon = Fraction(2)  # type: ignore[misc]


@pytest.mark.parametrize("delta", ["0", "1", "2"])
def test_delta_must_be_a_chance(delta: str) -> None:
    for reading in (lambda: epsilon_of_gdp(ONE, delta), lambda: epsilon_of_zcdp(ONE, delta)):
        with pytest.raises(ValueError, match="delta must be above 0 and below 1"):
            reading()
    with pytest.raises(ValueError, match="at least one release"):
        reported_epsilon([], MILLIONTH)


def test_everything_public_is_named() -> None:
    assert all(hasattr(composition, name) for name in composition.__all__)

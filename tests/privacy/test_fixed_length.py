"""Fixed-length rejection: the charged ratio against the exact law, by enumeration."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilray.privacy.enclosure import exp_range
from veilray.privacy.fixed_length import charged_ratio, fixed_length
from veilray.privacy.samplers.index import WORDS


def exact_output_law(p: Fraction, law: list[Fraction], upper: set[int], candidates: int) -> list[Fraction]:
    """Output probability of every candidate value, by running through all lists of candidates."""
    out = [Fraction(0)] * len(law)
    for drawn in itertools.product(range(len(law)), repeat=candidates):
        chance = math.prod((law[v] for v in drawn), start=Fraction(1))
        for side, weight in ((True, p), (False, 1 - p)):
            hits = [v for v in drawn if (v in upper) == side]
            out[hits[0] if hits else drawn[-1]] += chance * weight
    return out


@pytest.mark.parametrize("candidates", [2, 3, 5])
@pytest.mark.parametrize("p", [Fraction(9, 10), Fraction(3, 5)])
def test_the_charged_ratio_is_the_worst_ratio_of_the_exact_law(candidates: int, p: Fraction) -> None:
    coin = int(p * WORDS)
    p = Fraction(coin, WORDS)
    law = [Fraction(1, 5), Fraction(1, 10), Fraction(3, 10), Fraction(2, 5)]
    # Two inputs whose upper sides have the same probability, and so exchange values.
    a, b = {0, 1}, {2}
    first, second = (exact_output_law(p, law, upper, candidates) for upper in (a, b))
    assert sum(first) == sum(second) == 1
    worst = max(max(x / y, y / x) for x, y in zip(first, second, strict=True))
    charged = charged_ratio(coin, candidates, (Fraction(3, 10), Fraction(3, 10)))
    assert worst <= charged < worst * (1 + Fraction(1, 10**60))


def test_a_range_of_q_is_charged_at_its_ends() -> None:
    coin, candidates = int(0.9 * WORDS), 3
    p = Fraction(coin, WORDS)
    law = [Fraction(1, 10), Fraction(2, 10), Fraction(3, 10), Fraction(4, 10)]
    laws = [exact_output_law(p, law, upper, candidates) for upper in ({0}, {1}, {2})]
    worst = max(x / y for one in laws for two in laws for x, y in zip(one, two, strict=True))
    assert worst <= charged_ratio(coin, candidates, (Fraction(1, 10), Fraction(3, 10)))


def test_charging_the_coin_for_the_effective_probability_would_be_wrong() -> None:
    """The mutation p for p_eff: with two candidates it names a ratio that the exact law does not have."""
    plan = fixed_length(Fraction(4), "gaussian", 8)
    p, q = plan.coin / WORDS, plan.q
    naive = math.log(p * (1 - q) / ((1 - p) * q))
    assert abs(naive - 4) > 0.3
    assert math.log(plan.charged()) == pytest.approx(4, abs=1e-9)


@pytest.mark.parametrize("epsilon", ["1/100", "1/2", "1", "2", "4", "8"])
@pytest.mark.parametrize(
    ("form", "k"), [("gaussian", 1), ("gaussian", 64), ("gaussian", 12288), ("sphere", 2), ("sphere", 64)]
)
def test_the_plan_keeps_epsilon_and_reaches_it(epsilon: str, form: str, k: int) -> None:
    plan = fixed_length(Fraction(epsilon), form, k)  # type: ignore[arg-type]
    assert plan.charged() <= exp_range(Fraction(epsilon))[0]
    reached = plan.log_upper - plan.log_lower
    assert 0.998 * float(Fraction(epsilon)) < reached <= float(Fraction(epsilon)) * (1 + 1e-12)


@settings(max_examples=20, deadline=None)
@given(
    epsilon=st.fractions(Fraction(1, 50), 8, max_denominator=1000),
    k=st.integers(2, 3000),
    form=st.sampled_from(["gaussian", "sphere"]),
    candidates=st.one_of(st.none(), st.integers(2, 3000)),
)
def test_every_plan_keeps_its_epsilon(epsilon: Fraction, k: int, form: str, candidates: int | None) -> None:
    plan = fixed_length(epsilon, form, k, candidates)  # type: ignore[arg-type]
    assert charged_ratio(plan.coin, plan.candidates, plan.upper) <= exp_range(epsilon)[0]
    assert 0 < plan.coin < WORDS


def test_a_coin_a_trillionth_higher_breaks_the_claim() -> None:
    plan = fixed_length(Fraction(4), "gaussian", 8)
    assert charged_ratio(plan.coin + WORDS // 10**12, plan.candidates, plan.upper) > exp_range(Fraction(4))[1]


def test_a_cap_without_its_factor_one_half_breaks_the_claim() -> None:
    """The mutation `wrong cap`: a coin chosen for twice the cap is caught at the real one."""
    from veilray.privacy.fixed_length import _coin

    plan = fixed_length(Fraction(4), "sphere", 8)
    wrong = _coin(Fraction(4), plan.candidates, (plan.upper[0] * 2, plan.upper[1] * 2))
    assert charged_ratio(wrong, plan.candidates, plan.upper) > exp_range(Fraction(4))[1]


@pytest.mark.parametrize(("epsilon", "mean"), [("1/2", 0.20), ("1", 0.40), ("2", 0.79), ("4", 1.52), ("8", 2.74)])
def test_projections_are_those_of_the_literature(epsilon: str, mean: float) -> None:
    assert fixed_length(Fraction(epsilon), "gaussian", 64).projection == pytest.approx(mean, abs=0.005)


@pytest.mark.parametrize(("epsilon", "enough"), [(1, 64), (4, 256), (8, 4096)])
def test_as_many_candidates_as_published_gain_nothing_more(epsilon: int, enough: int) -> None:
    ours, published = (fixed_length(Fraction(epsilon), "gaussian", 8, m) for m in (None, enough))
    assert ours.candidates < enough
    assert ours.projection == pytest.approx(published.projection, rel=1e-4)


def test_refusals_name_the_cure() -> None:
    with pytest.raises(ValueError, match="use more blocks"):
        fixed_length(Fraction(9), "gaussian", 8)
    with pytest.raises(ValueError, match="candidates must be between"):
        fixed_length(Fraction(1), "gaussian", 8, 1)
    with pytest.raises(ValueError, match="at least 2 for sphere"):
        fixed_length(Fraction(1), "sphere", 1)


def test_an_epsilon_below_the_samplers_resolution_is_refused() -> None:
    """The enclosure of q alone is wider than this claim."""
    with pytest.raises(ValueError, match="resolution of the sampler"):
        fixed_length(Fraction(1, 10**9), "gaussian", 12288)

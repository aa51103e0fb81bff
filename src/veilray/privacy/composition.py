"""Adding claims up: per image, per patient, per data set.

Three ledgers of one list of releases:
* **sum**: epsilons add, deltas add; exact in fractions. Valid whatever is released, in any order, with parameters
  chosen after looking at earlier releases (basic composition; a valid filter).
* **Gaussian differential privacy**: mu = sqrt(sum mu_i^2) (Dong, Roth and Su 2022). A Gaussian release of sensitivity
  Delta and deviation sigma has mu = Delta / sigma exactly; mu^2 is a fraction, and adds exactly. A pure release counts
  with mu = 2 Phi^-1(e^eps / (1 + e^eps)): its trade-off curve is the two chords through (a, a), a = 1 / (1 + e^eps),
  and a convex Gaussian curve that passes at or below (a, a) lies below both chords. Valid as a filter (Smith and
  Thakurta 2022).
* **zero-concentrated**: rho = Delta^2 / (2 sigma^2), rho = eps^2 / 2 for a pure release (Bun and Steinke 2016); adds
  exactly.

Budgets are enforced in these. The privacy loss distribution (`reported_epsilon`, by Google's dp-accounting) is tighter
for long mixed lists; it is *reported* for a fixed list of releases, never used to enforce.

Events are frozen and carry exact parameters; what an event means is never changed, and an unknown one is refused.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import NoReturn, TypeVar

from dp_accounting.pld import privacy_loss_distribution as pld

from veilray.privacy.enclosure import exp_range, point, widen
from veilray.privacy.exact import ExactLike, decimal_text, delta_text, exact
from veilray.privacy.guarantee import Guarantee

__all__ = [
    "Approximate",
    "Event",
    "Gaussian",
    "Laplace",
    "Pure",
    "Total",
    "delta_of_gdp",
    "epsilon_of_gdp",
    "epsilon_of_zcdp",
    "events_of",
    "gdp_squared",
    "reported_epsilon",
    "total",
    "total_in_gdp",
    "worst_patient",
    "zcdp",
]

Subject = TypeVar("Subject", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Pure:
    """A release that is epsilon-differentially private: directional, codebook, selection, randomised response, and
    blocks of them."""

    epsilon: Fraction
    count: int = 1

    def __post_init__(self) -> None:
        _check(self.count, epsilon=self.epsilon)


@dataclass(frozen=True, kw_only=True)
class Laplace:
    """A Laplace release: L1 sensitivity and scale, both exact; epsilon is their quotient."""

    sensitivity: Fraction
    scale: Fraction
    count: int = 1

    def __post_init__(self) -> None:
        _check(self.count, sensitivity=self.sensitivity, scale=self.scale)

    @property
    def epsilon(self) -> Fraction:
        return self.sensitivity / self.scale


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """A Gaussian release: mu^2, the squared quotient of L2 sensitivity and standard deviation, and its stated claim.

    For a ball of radius R and deviation sigma mu^2 is 4 R^2 / sigma^2; for a box [-c, c]^d it is 4 c^2 d / sigma^2. The
    square is exact where mu is not. `epsilon` and `delta` are one reading of it, as stated when it was calibrated; mu
    is the whole truth. A claim that the mu does not support is refused.
    """

    mu_squared: Fraction
    epsilon: Fraction
    delta: Fraction
    count: int = 1

    def __post_init__(self) -> None:
        _check(self.count, mu_squared=self.mu_squared, epsilon=self.epsilon, delta=self.delta)
        if delta_of_gdp(self.mu_squared, self.epsilon) > self.delta:
            raise ValueError(
                f"delta must be at least what the deviation gives at epsilon {decimal_text(self.epsilon)}, got "
                f"{delta_text(self.delta)}: the deviation is too small for this claim"
            )


@dataclass(frozen=True, kw_only=True)
class Approximate:
    """A release of which only (epsilon, delta) is known: it adds in the sum, and nowhere else."""

    epsilon: Fraction
    delta: Fraction
    count: int = 1

    def __post_init__(self) -> None:
        _check(self.count, epsilon=self.epsilon, delta=self.delta)


Event = Pure | Laplace | Gaussian | Approximate
"""What was released, with exact parameters; `count` equal releases are one event."""


@dataclass(frozen=True)
class Total:
    """Epsilon and delta of a list of releases; exact, or rounded up where a root or a logarithm is in it."""

    epsilon: Fraction
    delta: Fraction


def events_of(guarantee: Guarantee) -> tuple[Event, ...]:
    """The events of one image released under `guarantee`: the image, and its randomised conditions if it has any.

    A guarantee of the gaussian mechanism, in blocks or not, states an exact `mu_squared` and becomes `Gaussian`; any
    other is `Pure`, or `Approximate` where it has a delta.
    """
    epsilon, delta = guarantee.image_epsilon, guarantee.image_delta
    image: Event
    if delta == 0:
        image = Pure(epsilon=epsilon)
    elif guarantee.mechanism in ("gaussian", "blockwise") and "mu_squared" in guarantee.parameters:
        mu_squared = exact(guarantee.parameters["mu_squared"], "mu_squared")
        image = Gaussian(mu_squared=mu_squared, epsilon=epsilon, delta=delta)
    else:
        image = Approximate(epsilon=epsilon, delta=delta)
    conditions = guarantee.conditions_epsilon
    return (image, Pure(epsilon=conditions)) if conditions else (image,)


def total(events: Iterable[Event]) -> Total:
    """The plain sum: epsilons and deltas add, exactly. Valid for any events, adaptively chosen."""
    epsilon, delta = Fraction(0), Fraction(0)
    for event in events:
        if isinstance(event, Pure | Laplace):
            epsilon += event.count * event.epsilon
        elif isinstance(event, Gaussian | Approximate):
            epsilon += event.count * event.epsilon
            delta += event.count * event.delta
        else:
            _refuse(event)
    return Total(epsilon, min(delta, Fraction(1)))


def gdp_squared(events: Iterable[Event]) -> Fraction:
    """mu^2 of the list: exact for Gaussian releases, rounded up by less than 10^-40 for pure ones.

    Raises:
        ValueError: for an event of which only (epsilon, delta) is known, or an unknown one.
    """
    square = Fraction(0)
    for event in events:
        if isinstance(event, Gaussian):
            square += event.count * event.mu_squared
        elif isinstance(event, Pure | Laplace):
            square += event.count * _pure_mu(event.epsilon) ** 2
        else:
            _refuse(event)
    return square


def zcdp(events: Iterable[Event]) -> Fraction:
    """rho of the list, exact: Delta^2 / (2 sigma^2) for Gaussian (2 R^2 / sigma^2 for a ball of radius R), eps^2 / 2
    for pure releases. Raises ValueError as `gdp_squared`."""
    rho = Fraction(0)
    for event in events:
        if isinstance(event, Gaussian):
            rho += event.count * event.mu_squared / 2
        elif isinstance(event, Pure | Laplace):
            rho += event.count * event.epsilon**2 / 2
        else:
            _refuse(event)
    return rho


def epsilon_of_zcdp(rho: Fraction, delta: ExactLike) -> Fraction:
    """epsilon at `delta` of a rho-zCDP list: rho + 2 sqrt(rho ln(1/delta)), rounded up (Bun and Steinke 2016)."""
    chance = _delta(delta)
    if rho < 0:
        raise ValueError(f"rho must not be negative, got {rho}")
    return rho + widen(2 * point.sqrt(_mp(rho) * point.log(1 / _mp(chance))))[1]


def delta_of_gdp(mu_squared: Fraction, epsilon: Fraction) -> Fraction:
    """The smallest delta of a mu-GDP list at `epsilon`, rounded up:
    Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu) (Balle and Wang 2018)."""
    if mu_squared < 0 or epsilon < 0:
        raise ValueError(f"mu^2 and epsilon must not be negative, got {mu_squared} and {epsilon}")
    if mu_squared == 0:
        return Fraction(0)
    mu, eps = point.sqrt(_mp(mu_squared)), _mp(epsilon)
    first = point.ncdf(mu / 2 - eps / mu)
    second = point.exp(eps) * point.ncdf(-mu / 2 - eps / mu)
    # The two terms are computed to 80 digits and may cancel, so the slack is taken from the terms, not the difference.
    return max(widen(first)[1] - widen(second)[0], Fraction(0))


def epsilon_of_gdp(mu_squared: Fraction, delta: ExactLike) -> Fraction:
    """The smallest epsilon at `delta` of a mu-GDP list, rounded up by less than 2^-40: bisection of `delta_of_gdp`,
    which falls in epsilon."""
    chance = _delta(delta)
    if delta_of_gdp(mu_squared, Fraction(0)) <= chance:
        return Fraction(0)
    low, high = Fraction(0), Fraction(1)
    while delta_of_gdp(mu_squared, high) > chance:
        low, high = high, 2 * high
    while high - low > Fraction(1, 2**41):
        middle = (low + high) / 2
        low, high = (middle, high) if delta_of_gdp(mu_squared, middle) > chance else (low, middle)
    return high


def total_in_gdp(events: Iterable[Event], delta: ExactLike) -> Total:
    """The (epsilon, delta) reading of a list in Gaussian differential privacy, rounded up."""
    chance = _delta(delta)
    return Total(epsilon_of_gdp(gdp_squared(events), chance), chance)


def worst_patient(patients: Mapping[Subject, Sequence[Event]]) -> tuple[Subject | None, Total]:
    """A data set's claim: the maximum over patients of each patient's own sum; never the sum over patients.

    Returns:
        The patient of the largest epsilon, and the largest epsilon with the largest delta (of any patient, so that the
        claim holds for all of them). For no patient at all: None and zero.
    """
    sums = {subject: total(events) for subject, events in patients.items()}
    if not sums:
        return None, Total(Fraction(0), Fraction(0))
    worst = max(sums, key=lambda subject: sums[subject].epsilon)
    return worst, Total(sums[worst].epsilon, max(one.delta for one in sums.values()))


def reported_epsilon(events: Sequence[Event], delta: ExactLike, *, grid: float = 1e-4) -> float:
    """epsilon at `delta` of a **fixed** list, by the privacy loss distribution: to be reported beside the sum.

    A float from dp-accounting with pessimistic rounding on a grid of `grid` nats; not for enforcing a budget, because
    the list must not depend on earlier releases.

    Raises:
        ValueError: for an empty list, delta outside (0, 1), or an unknown event.
    """
    chance = _delta(delta)
    if not events:
        raise ValueError("events must hold at least one release, got none")
    losses = [_loss(event, grid) for event in events]
    joined = losses[0]
    for loss in losses[1:]:
        joined = joined.compose(loss)
    return float(joined.get_epsilon_for_delta(float(chance)))


def _loss(event: Event, grid: float) -> pld.PrivacyLossDistribution:
    if isinstance(event, Gaussian):
        ratio = math.nextafter(1 / math.nextafter(math.sqrt(event.mu_squared), math.inf), 0.0)
        loss = pld.from_gaussian_mechanism(ratio, value_discretization_interval=grid)
    elif isinstance(event, Laplace):
        ratio = math.nextafter(float(event.scale / event.sensitivity), 0.0)
        loss = pld.from_laplace_mechanism(ratio, value_discretization_interval=grid)
    elif isinstance(event, Pure):
        loss = _randomised_response(math.nextafter(float(event.epsilon), math.inf), 0.0, grid)
    elif isinstance(event, Approximate):
        loss = _randomised_response(math.nextafter(float(event.epsilon), math.inf), float(event.delta), grid)
    else:
        _refuse(event)
    return loss.self_compose(event.count) if event.count > 1 else loss


def _randomised_response(epsilon: float, delta: float, grid: float) -> pld.PrivacyLossDistribution:
    """Randomised response dominates every (epsilon, delta) release (Kairouz, Oh and Viswanath 2015)."""
    parameters = pld.common.DifferentialPrivacyParameters(epsilon, delta)
    return pld.from_privacy_parameters(parameters, value_discretization_interval=grid)


@cache
def _pure_mu(epsilon: Fraction) -> Fraction:
    """2 Phi^-1(e^eps / (1 + e^eps)), rounded up: bisection of Phi(-mu/2) <= 1 / (1 + e^eps)."""
    goal = 1 / (1 + exp_range(epsilon)[1])
    low, high = Fraction(0), Fraction(2)
    while widen(point.ncdf(-_mp(high) / 2))[1] > goal:
        low, high = high, 2 * high
    while high - low > Fraction(1, 2**140):
        middle = (low + high) / 2
        low, high = (middle, high) if widen(point.ncdf(-_mp(middle) / 2))[1] > goal else (low, middle)
    return high


def _mp(value: Fraction) -> point.mpf:
    return point.mpf(value.numerator) / value.denominator


def _delta(delta: ExactLike) -> Fraction:
    chance = exact(delta, "delta")
    if not 0 < chance < 1:
        raise ValueError(f"delta must be above 0 and below 1, got {chance}")
    return chance


def _check(count: int, **numbers: Fraction) -> None:
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    for name, value in numbers.items():
        if not isinstance(value, Fraction):
            raise ValueError(f"{name} must be an exact Fraction, got {value!r}")
        if value <= 0:
            raise ValueError(f"{name} must be above 0, got {value}")


def _refuse(event: object) -> NoReturn:
    raise ValueError(
        f"event must be one whose composition here is known, got {type(event).__name__}: "
        "an Approximate release adds in `total` only"
    )

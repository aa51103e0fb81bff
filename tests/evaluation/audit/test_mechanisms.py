"""Every registered mechanism passes the quick audit, near its claim, and a correct build never trips."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from veilray.evaluation.audit import (
    BARS,
    EPSILONS,
    FULL,
    QUICK,
    Report,
    audit,
    audit_mechanism,
    bar,
    label_subject,
    number_subject,
    run,
    subject_of,
)
from veilray.evaluation.audit.gallery import RandomisedLabel, RandomisedNumber, SoundLaplace
from veilray.evaluation.audit.structure import equal_support
from veilray.privacy import MECHANISMS, Claim, Entropy, SeededEntropy
from veilray.privacy.bounded_number import release_numbers
from veilray.privacy.calibration import gaussian_mu
from veilray.privacy.mechanisms.base import Floats, Integers
from veilray.privacy.mechanisms.laplace import Laplace
from veilray.privacy.mechanisms.randomised_response import respond

UNITS = {"laplace": ("image", "element"), "gaussian": ("image", "element"), "randomised_response": ("image", "element")}


def audited(name: str, epsilon: str, unit: str, trials: int, dimension: int = 8) -> Report:
    claim = Claim.of(epsilon, "1e-5" if name == "gaussian" else 0, unit)  # type: ignore[arg-type]
    return audit_mechanism(name, claim, dimension, trials, SeededEntropy(f"{name} {epsilon} {unit}"))


@pytest.mark.parametrize("epsilon", ["1", "4"])
@pytest.mark.parametrize(
    ("name", "unit"), [(name, unit) for name in MECHANISMS for unit in UNITS.get(name, ("image",))]
)
def test_a_registered_mechanism_keeps_its_claim(name: str, unit: str, epsilon: str) -> None:
    report = audited(name, epsilon, unit, 30_000)
    assert report.passed, report.failures
    for check in report.checks:
        if check.limit is not None and check.decided is not None:
            assert check.decided <= check.limit.value


@pytest.mark.parametrize("epsilon", ["1", "4"])
@pytest.mark.parametrize(("name", "unit"), list(BARS))
def test_a_tight_mechanism_reaches_its_quick_bar(name: str, unit: str, epsilon: str) -> None:
    report = audited(name, epsilon, unit, QUICK, dimension=1 if name == "randomised_response" else 8)
    held = [check for check in report.checks if check.bar is not None]
    assert len(held) == 1
    assert not held[0].weak, f"{held[0].test}: {held[0].share} of the claim, bar {held[0].bar}"


@pytest.mark.soak
@pytest.mark.parametrize("epsilon", [str(epsilon) for epsilon in EPSILONS])
@pytest.mark.parametrize(("name", "unit"), list(BARS))
def test_a_tight_mechanism_reaches_its_full_bar(name: str, unit: str, epsilon: str) -> None:
    report = audited(name, epsilon, unit, FULL, dimension=1 if name == "randomised_response" else 8)
    assert report.passed, report.failures
    assert not any(check.weak for check in report.checks)


def test_the_bar_follows_the_trials() -> None:
    claim = Claim.of("1", unit="element")
    assert bar("laplace", claim, 8, FULL) == 0.9
    assert bar("laplace", claim, 8, QUICK) == pytest.approx(1 - 0.1 * 10**0.5)
    assert bar("laplace", Claim.of("1"), 8, FULL) is None
    assert bar("laplace", Claim.of("3", unit="element"), 8, FULL) is None
    assert bar("randomised_response", Claim.of("1"), 2, FULL) is None


@pytest.mark.parametrize("name", ["directional", "gaussian", "codebook", "blockwise"])
def test_one_element_and_many_are_audited_too(name: str) -> None:
    for dimension in (1, 2, 80) if name == "blockwise" else (1, 80):
        report = audited(name, "2", "image", 2000, dimension)
        assert report.passed, report.failures


def test_sound_controls_pass() -> None:
    for subject in (SoundLaplace().subject(), RandomisedLabel().subject(), RandomisedNumber().subject()):
        report = audit(subject, 20_000, SeededEntropy(1))
        assert report.passed, report.failures


def test_forty_audits_of_a_tight_mechanism_never_trip() -> None:
    """At 99 % some bounds lie above the claim, as they must; at the family-wise level none does."""
    above = 0
    for seed in range(40):
        report = audit_mechanism("randomised_response", Claim.of("1"), 1, 2000, SeededEntropy(seed))
        assert report.passed, report.failures
        above += sum(check.share > 1 for check in report.checks if check.share is not None)
    assert above >= 1


class _StatesMore(Laplace):
    """Half the noise that was asked for, and a guarantee that owns up to it."""

    @classmethod
    def calibrate(cls, claim: Claim, dimension: int, **options: Any) -> Laplace:
        return super().calibrate(replace(claim, epsilon=2 * claim.epsilon), dimension, **options)


@pytest.mark.parametrize("unit", ["image", "element"])
def test_a_mechanism_is_held_to_what_was_asked_for_and_not_to_what_it_states(
    unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = Claim.of("1", unit=unit)  # type: ignore[arg-type]
    broken = _StatesMore.calibrate(claim, 8)
    assert audit(subject_of(broken), 20_000, SeededEntropy(1)).passed  # by its own word it is sound
    assert not audit(subject_of(broken, claim), 20_000, SeededEntropy(1)).passed
    monkeypatch.setattr(run, "calibrated", lambda *_, **__: broken)
    assert not audit_mechanism("laplace", claim, 8, 20_000, SeededEntropy(1)).passed


@pytest.mark.parametrize(("unit", "bound"), [("image", "l2-ball"), ("image", "box"), ("element", "box")])
def test_the_limits_of_gaussian_noise_are_those_of_its_printed_claims(unit: str, bound: str) -> None:
    claim = Claim.of("2", "1e-5", unit)  # type: ignore[arg-type]
    mechanism = MECHANISMS["gaussian"].calibrate(claim, 8, bound=bound)
    subject, stated = subject_of(mechanism, claim), mechanism.guarantee(8)
    assert subject.limit.value == float(gaussian_mu(stated.image_epsilon, stated.image_delta))
    if stated.element_epsilon is not None:
        assert subject.element is not None
        assert subject.element.value == float(gaussian_mu(stated.element_epsilon, stated.delta))


@given(st.floats(0.01, 0.99), st.floats(1e-6, 1e-2), st.sampled_from(["1/2", "2", "8"]))
def test_what_mu_allows_lies_inside_what_epsilon_and_delta_allow(wrong: float, delta: float, epsilon: str) -> None:
    """So holding a build to mu loses no violation of the claim: Phi(Phi^-1(a) + mu) <= e^epsilon a + delta."""
    mu = float(gaussian_mu(Fraction(epsilon), Fraction(delta)))
    right = float(ndtr(ndtri(wrong) + mu))
    assert right <= np.exp(float(Fraction(epsilon))) * wrong + delta + 1e-9


@pytest.mark.parametrize("epsilon", ["1/2", "1/100"])
def test_the_claim_of_one_element_among_many_allows_for_the_rounding_of_a_sum(epsilon: str) -> None:
    claim = Claim.of(epsilon)
    assert equal_support(subject_of(MECHANISMS["laplace"].calibrate(claim, 784), claim)) == ""


def test_too_few_trials_are_refused() -> None:
    with pytest.raises(ValueError, match="trials must be at least 1,000 and at most"):
        audited("laplace", "1", "element", 10)


def test_the_support_is_enumerated_on_a_coarse_grid() -> None:
    """Few grid values: every one that comes out often under one input is seen under the other, in proportion."""
    mechanism = MECHANISMS["laplace"].calibrate(Claim.of("4", unit="element"), 1, clip=1, grid_bits=1)
    report = audit(subject_of(mechanism), 20_000, SeededEntropy("coarse"))
    assert report.passed, report.failures
    values = next(check for check in report.checks if check.test == "worst case / values")
    assert 0.8 < (values.share or 0) <= 1.1


def test_a_label_pipeline_is_held_to_its_epsilon() -> None:
    def pipeline(labels: Integers, entropy: Entropy) -> Floats:
        return respond(labels, 3, "2", entropy)[:, None].astype(float)

    assert audit(label_subject("label", pipeline, Fraction(2)), 20_000, SeededEntropy(1)).passed
    assert not audit(label_subject("label", pipeline, Fraction(1)), 20_000, SeededEntropy(1)).passed


def test_a_number_reaches_nine_tenths_of_its_epsilon_and_no_more() -> None:
    bounds = Fraction(0), Fraction(100)

    def pipeline(values: Floats, entropy: Entropy) -> Floats:
        return release_numbers(values, *bounds, Fraction(2), entropy).astype(float)[:, None]

    report = audit(number_subject("age", pipeline, Fraction(2), bounds), 50_000, SeededEntropy(1))
    assert report.passed, report.failures
    assert report.sharpest is not None
    assert (report.sharpest.share or 0) > 0.9
    assert not audit(number_subject("age", pipeline, Fraction(1), bounds), 50_000, SeededEntropy(1)).passed


@pytest.mark.parametrize("of", ["gaussian", "codebook"])
def test_blocks_of_another_mechanism_are_held_to_its_own_kind_of_claim(of: str) -> None:
    claim = Claim.of("2", "1e-5" if of == "gaussian" else 0)
    mechanism = MECHANISMS["blockwise"].calibrate(claim, 6, of=of, sizes="2,2,2", shares="3/2,1/2,0")
    subject = subject_of(mechanism)
    assert (subject.limit.kind, subject.density) == (("mu", True) if of == "gaussian" else ("epsilon", False))
    report = audit(subject, 40_000, SeededEntropy(of))
    assert report.passed, report.failures
    # Basic composition of (epsilon, delta) is loose for Gaussian blocks: together they spend less than the claim.
    assert (report.sharpest is not None) and (report.sharpest.share or 0) > (0.65 if of == "gaussian" else 0.9)

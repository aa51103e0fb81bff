"""Directional release in blocks of unequal size and epsilon: the sum, independence, the audit, text options."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilray.cli.opening import parse_pairs
from veilray.evaluation.audit import audit, subject_of
from veilray.evaluation.audit.pairs import WORST
from veilray.privacy.enclosure import exp_range
from veilray.privacy.entropy import SeededEntropy
from veilray.privacy.mechanisms.base import Claim
from veilray.privacy.mechanisms.directional import Directional

FORMS = ["gaussian", "sphere"]


def calibrated(epsilon: str | Fraction, dimension: int, **options: Any) -> Directional:
    return Directional.calibrate(Claim.of(epsilon), dimension, **options)


def unequal(**options: Any) -> Directional:
    return calibrated("4", 16, sizes="4,12", shares="3,1", **options)


@st.composite
def partitions(draw: st.DrawFn) -> tuple[list[int], list[Fraction]]:
    sizes = draw(st.lists(st.integers(2, 40), min_size=1, max_size=5))
    share = st.fractions(Fraction(1, 50), 8, max_denominator=100)
    return sizes, draw(st.lists(share, min_size=len(sizes), max_size=len(sizes)))


# --- the claim ---


@settings(deadline=None, max_examples=25)
@given(partition=partitions(), form=st.sampled_from(FORMS))
def test_every_ratio_of_a_block_keeps_its_share_and_the_shares_are_the_claim(
    partition: tuple[list[int], list[Fraction]], form: str
) -> None:
    sizes, shares = partition
    mechanism = calibrated(sum(shares), sum(sizes), form=form, sizes=sizes, shares=shares)
    assert [b.k for b in mechanism.blocks] == sizes
    assert sum(mechanism.shares) == mechanism.guarantee(sum(sizes)).epsilon == sum(shares)
    for block, share in zip(mechanism.blocks, shares, strict=True):
        assert block.charged() <= exp_range(share)[0]
    together = math.prod((block.charged() for block in mechanism.blocks), start=Fraction(1))
    assert together <= exp_range(sum(shares))[1]


@pytest.mark.parametrize("form", FORMS)
def test_the_worst_case_is_the_sum(form: str) -> None:
    mechanism = unequal(form=form)
    unit = mechanism.bound(np.random.default_rng(0).standard_normal((1, 16)))
    far = np.concatenate([20 * unit, -20 * unit])
    values = mechanism.log_likelihood(far, unit)
    assert values[0] - values[1] == pytest.approx(4, rel=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_likelihoods_are_each_blocks_own(form: str) -> None:
    """Four values, of which one block's side moves by its own share."""
    mechanism = unequal(form=form)
    unit = mechanism.bound(np.random.default_rng(1).standard_normal((1, 16)))
    found = {}
    for first, second in itertools.product((1, -1), repeat=2):
        released = 20 * unit * np.array([first] * 4 + [second] * 12)
        found[first, second] = float(mechanism.log_likelihood(released, unit)[0])
    for side in (1, -1):
        assert found[1, side] - found[-1, side] == pytest.approx(3, rel=1e-5)
        assert found[side, 1] - found[side, -1] == pytest.approx(1, rel=1e-5)


def test_likelihoods_are_densities_against_the_candidates_law() -> None:
    mechanism = calibrated("3", 5, sizes=(2, 3), shares=("2", "1"))
    latent = np.array([[1.0, 2.0, -1.0, 0.5, 0.0]])
    candidates = np.random.default_rng(0).standard_normal((200_000, 5))
    assert np.exp(mechanism.log_likelihood(candidates, latent)).mean() == pytest.approx(1, abs=0.02)


def test_the_audit_finds_the_sum_and_no_more() -> None:
    mechanism = calibrated("4", 6, sizes="2,4", shares="3,1")
    report = audit(subject_of(mechanism), 100_000, SeededEntropy("unequal blocks"))
    assert report.passed, report.failures
    held = next(check for check in report.checks if check.test == f"{WORST} / likelihood")
    assert held.limit is not None and held.limit.value == 4
    assert 0.9 < (held.share or 0) <= 1.02


def test_one_block_alone_is_told_apart_by_its_own_share(certified: Callable[..., float], never: float) -> None:
    """Records that differ in the second block: its cap event certifies about 1 of the 4 claimed."""
    mechanism = calibrated("4", 6, sizes="2,4", shares="3,1")
    row = np.array([[1.0, 0, 0.5, 0.5, -0.5, 0.5]])
    other = row * [1, 1, -1, -1, -1, -1]
    counts = []
    for number, record in enumerate((row, other)):
        released = mechanism.release(np.repeat(record, 100_000, axis=0), SeededEntropy(number))
        counts.append(int((released[:, 2:] @ row[0, 2:] >= mechanism.blocks[1].gamma).sum()))
    assert certified(*counts, 100_000) > 0.9
    assert certified(*counts, 100_000, never) <= 1


# --- independence ---


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), dimension=st.sampled_from([16, 3000]))
def test_the_noise_of_a_block_does_not_depend_on_another_blocks_code(seed: int, dimension: int) -> None:
    """Both for joint and for streamed candidates."""
    mechanism = calibrated("4", dimension, sizes=(4, 8, dimension - 12), shares="2,1,1")
    rng = np.random.default_rng(seed)
    row = rng.standard_normal((1, dimension))
    for start, stop in ((0, 4), (4, 12), (12, dimension)):
        altered = rng.standard_normal((1, dimension))
        altered[:, start:stop] = row[:, start:stop]
        one, two = (mechanism.release(r, SeededEntropy(seed)) for r in (row, altered))
        assert np.array_equal(one[:, start:stop], two[:, start:stop])


def test_the_noise_of_a_block_depends_on_its_own_code() -> None:
    """Else the test above could not fail."""
    mechanism = unequal()
    rows = np.ones((20, 16))
    one, two = (mechanism.release(sign * rows, SeededEntropy(1)) for sign in (1, -1))
    assert not np.array_equal(one[:, :4], two[:, :4])
    assert not np.array_equal(one[:, 4:], two[:, 4:])


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), rows=st.integers(2, 6))
def test_rows_are_independent(seed: int, rows: int) -> None:
    mechanism = unequal()
    rng = np.random.default_rng(seed)
    first = rng.standard_normal((rows, 16))
    second = rng.standard_normal((rows, 16))
    kept = rng.integers(rows)
    second[kept] = first[kept]
    one, two = (mechanism.release(batch, SeededEntropy(seed)) for batch in (first, second))
    assert np.array_equal(one[kept], two[kept])


def test_noise_is_uncorrelated_between_blocks() -> None:
    released = unequal().release(np.repeat(np.eye(16)[:1] + np.eye(16)[4:5], 40_000, axis=0), SeededEntropy(3))
    correlation = np.corrcoef(released.T)
    assert np.abs(correlation - np.eye(16)).max() < 5 / math.sqrt(40_000)


def test_each_row_takes_the_same_number_of_bytes(counting: type[Any]) -> None:
    mechanism = unequal()
    words = sum(1 + b.candidates * b.k for b in mechanism.blocks)
    for seed in range(5):
        entropy = counting(seed)
        mechanism.release(np.random.default_rng(seed).standard_normal((3, 16)), entropy)
        assert entropy.count == 3 * 8 * words


# --- what is stated, and the way back ---


def test_the_guarantee_states_the_size_and_epsilon_of_each_block() -> None:
    stated = unequal().guarantee(16).parameters
    assert stated["blocks"] == "2"
    assert stated["elements of each block"] == "4 12"
    assert stated["epsilon of each block"] == "3 1"
    assert all(len(stated[name].split()) == 2 for name in ("candidates", "gamma", "coin (of 2^64)"))
    assert "epsilon of a block" not in stated


@pytest.mark.parametrize(("shares", "even"), [(None, True), ("6,6", True), ("8,4", False)])
def test_even_blocks_are_one_mechanism_however_they_are_asked_for(shares: str | None, even: bool) -> None:
    default, asked = calibrated("12", 17), calibrated("12", 17, sizes="9,8", shares=shares)
    rows = np.random.default_rng(0).standard_normal((3, 17))
    released = [mechanism.release(rows, SeededEntropy(1)) for mechanism in (default, asked)]
    assert np.array_equal(*released) == even
    assert (default.guarantee(17) == asked.guarantee(17)) == even


def test_equal_shares_of_unequal_sizes_are_stated_one_by_one() -> None:
    stated = calibrated("4", 16, sizes="4,12").guarantee(16).parameters
    assert stated["epsilon of each block"] == "2 2" and stated["elements of each block"] == "4 12"


def test_to_prior_scales_only_the_blocks_above_epsilon_four() -> None:
    mechanism = calibrated("9", 12, sizes="4,8", shares="7,2")
    released = mechanism.release(np.random.default_rng(0).standard_normal((4000, 12)), SeededEntropy(1))
    brought = mechanism.to_prior(released)
    assert np.array_equal(brought[:, 4:], released[:, 4:])
    assert (released[:, :4] ** 2).mean() > 1.5
    assert (brought[:, :4] ** 2).mean() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("form", FORMS)
def test_correlation_with_a_normal_source_is_the_theorys(form: str) -> None:
    mechanism = unequal(form=form)
    source = np.random.default_rng(1).standard_normal((60_000, 16))
    released = mechanism.release(source, SeededEntropy(2))
    measured = (source * released).sum() / math.sqrt((source**2).sum() * (released**2).sum())
    assert measured == pytest.approx(mechanism.expected_correlation(), abs=0.01)


# --- options ---


@pytest.mark.parametrize(
    ("sizes", "shares"),
    [
        ("4,12", "3,1"),
        ("4, 12", " 3, 1.0"),
        ([4, 12], [3, 1]),
        ((4, 12), (Fraction(3), "1")),
        (np.array([4, 12]), "3,1"),
    ],
)
def test_text_and_sequences_mean_the_same(sizes: Any, shares: Any) -> None:
    assert calibrated("4", 16, sizes=sizes, shares=shares).guarantee(16) == unequal().guarantee(16)


def test_options_survive_the_command_line() -> None:
    options = parse_pairs(["sizes=4,12", "shares=1/3,2/3", "form=sphere"], "--mechanism-option")
    mechanism = calibrated("1", 16, **options)
    assert mechanism.shares == (Fraction(1, 3), Fraction(2, 3))
    assert [b.k for b in mechanism.blocks] == [4, 12]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blocks": 2, "sizes": "4,12"}, "blocks must be absent beside sizes and shares, got 2"),
        ({"shares": "3,1"}, "sizes must be given with shares"),
        ({"blocks": 2, "shares": "3,1"}, "blocks must be absent"),
        ({"sizes": "4,11"}, "sizes must sum to the dimension 16, got '4,11', which sum to 15"),
        ({"sizes": "4,x"}, "sizes must be whole numbers"),
        ({"sizes": "4.5,11.5"}, "sizes must be whole numbers"),
        ({"sizes": 16}, "sizes must be whole numbers"),
        ({"sizes": ""}, "sizes must be whole numbers"),
        ({"sizes": ()}, "sizes must each be at least 1"),
        ({"sizes": "0,16"}, "sizes must each be at least 1"),
        ({"sizes": "1,15", "form": "sphere"}, "sizes must each be at least 2"),
        ({"sizes": "4,12", "shares": "4"}, "shares must be one for each of the 2 sizes, got 1"),
        ({"sizes": "4,12", "shares": "3,2"}, "shares must sum to epsilon 4 exactly, got 5"),
        ({"sizes": "4,12", "shares": "3,0.999999999999999999"}, "shares must sum to epsilon 4 exactly"),
        ({"sizes": "4,12", "shares": "4,0"}, "shares must each be above 0 and at most 8, got 0"),
        ({"sizes": "4,12", "shares": "5,-1"}, "shares must not be negative"),
        ({"sizes": "4,12", "shares": [3.0, 1.0]}, "shares must be exact, got the float"),
        ({"sizes": "4,12", "shares": 4}, "shares must be numbers with commas between"),
    ],
)
def test_blocks_that_do_not_add_up_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        calibrated("4", 16, **options)


@pytest.mark.parametrize("options", [{"shares": "9,1"}, {}, {"shares": "9,1", "candidates": 4096}])
def test_no_share_passes_eight(options: dict[str, Any]) -> None:
    epsilon = "10" if options else "17"
    with pytest.raises(ValueError, match=r"at most 8, got .*: use more sizes"):
        calibrated(epsilon, 16, sizes="4,12", **options)

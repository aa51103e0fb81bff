"""Directional release: law, support, draw counts, audit, correlation, and the mutations that must fail."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import binomtest, kstest, norm

from veilray.privacy.entropy import SeededEntropy, SystemEntropy
from veilray.privacy.mechanisms import directional
from veilray.privacy.mechanisms.base import MECHANISMS, Claim
from veilray.privacy.mechanisms.directional import Directional

FORMS = ["gaussian", "sphere"]


def calibrated(epsilon: str, dimension: int, **options: Any) -> Directional:
    return Directional.calibrate(Claim.of(epsilon), dimension, **options)


def repeated(row: list[float], rows: int) -> np.ndarray:
    return np.repeat(np.array([row]), rows, axis=0)


def in_cap(mechanism: Directional, released: np.ndarray, unit: np.ndarray) -> int:
    block = mechanism.blocks[0]
    length = np.sqrt((released**2).sum(axis=1)) if block.form == "sphere" else 1.0
    return int((released @ unit >= block.gamma * length).sum())


def test_it_is_registered() -> None:
    assert MECHANISMS["directional"] is Directional


# --- the law ---


@pytest.mark.parametrize("unit", [[1.0, 0, 0, 0], [0.5, -0.5, 0.5, -0.5]], ids=["axis", "dense"])
@pytest.mark.parametrize("epsilon", ["1", "4"])
def test_projections_follow_the_two_sided_law(epsilon: str, unit: list[float]) -> None:
    mechanism = calibrated(epsilon, 4)
    block = mechanism.blocks[0]
    projections = mechanism.release(repeated(unit, 100_000), SeededEntropy(f"law {epsilon}")) @ np.array(unit)

    def cdf(a: np.ndarray) -> np.ndarray:
        lower = (1 - block.effective) * np.minimum(norm.cdf(a), 1 - block.q) / (1 - block.q)
        return lower + block.effective * np.clip(norm.cdf(a) - (1 - block.q), 0, None) / block.q

    assert kstest(projections, cdf).pvalue > 1e-6


def test_what_is_orthogonal_to_the_direction_is_normal_with_full_rank() -> None:
    mechanism = calibrated("4", 6)
    released = mechanism.release(repeated([1.0, 0, 0, 0, 0, 0], 50_000), SeededEntropy(3))
    assert kstest(released[:, 1:].ravel(), "norm").pvalue > 1e-6
    covariance = np.cov(released[:, 1:].T)
    assert np.abs(covariance - np.eye(5)).max() < 0.04


def test_noise_is_shared_neither_by_rows_nor_by_elements() -> None:
    """Marginal tests pass noise that pairs share; sums and differences of pairs do not."""
    released = calibrated("2", 4).release(repeated([1.0, 0, 0, 0], 40_000), SeededEntropy(6))[:, 1:]
    pairs = [(released[0::2], released[1::2]), (released[:20_000], released[20_000:])]
    pairs += [(released[:, :2], released[:, 1:])]
    for one, two in pairs:
        assert (one + two).var() == pytest.approx(2, abs=0.06)
        assert (one - two).var() == pytest.approx(2, abs=0.06)


@pytest.mark.parametrize("form", FORMS)
def test_the_side_has_its_exact_probability(form: str) -> None:
    mechanism = calibrated("2", 3, form=form)
    unit = np.array([0.6, 0.0, -0.8])
    hits = in_cap(mechanism, mechanism.release(repeated(list(unit), 200_000), SeededEntropy(form)), unit)
    assert binomtest(hits, 200_000, mechanism.blocks[0].effective).pvalue > 1e-6


def test_few_candidates_still_have_the_exact_side_probability() -> None:
    """Two candidates miss often: here p and p_eff are far apart."""
    mechanism = calibrated("4", 2, candidates=2)
    block = mechanism.blocks[0]
    unit = np.array([1.0, 0.0])
    hits = in_cap(mechanism, mechanism.release(repeated([1.0, 0.0], 200_000), SeededEntropy(8)), unit)
    assert binomtest(hits, 200_000, block.effective).pvalue > 1e-6
    assert binomtest(hits, 200_000, block.coin / 2**64).pvalue < 1e-30  # the mutation p for p_eff


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("epsilon", "dimension"), [("1", 8), ("4", 64), ("8", 8), ("16", 64)])
def test_correlation_with_a_normal_source_is_the_theorys(form: str, epsilon: str, dimension: int) -> None:
    mechanism = calibrated(epsilon, dimension, form=form)
    work = sum(b.candidates * b.k for b in mechanism.blocks)
    rows = int(min(60_000, 3e8 // work))
    source = np.random.default_rng(1).standard_normal((rows, dimension))
    released = mechanism.release(source, SystemEntropy())
    measured = (source * released).sum() / math.sqrt((source**2).sum() * (released**2).sum())
    # One correlation over rows * dimension products: its deviation is at most about 1 / sqrt(rows * dimension).
    allowed = 0.03 * mechanism.expected_correlation() + 5 / math.sqrt(rows * dimension)
    assert measured == pytest.approx(mechanism.expected_correlation(), abs=allowed)


# --- structure: what could tell ---


@pytest.mark.parametrize("dimension", [8, 3000])
def test_every_row_takes_the_same_number_of_bytes_whatever_comes_out(dimension: int, counting: type[Any]) -> None:
    mechanism = calibrated("4", dimension)
    words = 1 + mechanism.blocks[0].candidates * dimension
    for seed in range(5):
        entropy = counting(seed)
        mechanism.release(np.random.default_rng(seed).standard_normal((2, dimension)), entropy)
        assert entropy.count == 2 * 8 * words


@pytest.mark.parametrize("dimension", [8, 3000])
def test_a_row_does_not_depend_on_the_other_rows(dimension: int) -> None:
    mechanism = calibrated("4", dimension)
    rows = np.random.default_rng(0).standard_normal((5, dimension))
    altered = rows.copy()
    altered[[0, 2, 4]] = np.nan
    one, two = (mechanism.release(batch, SeededEntropy(9)) for batch in (rows, altered))
    assert np.array_equal(one[[1, 3]], two[[1, 3]])
    assert not np.array_equal(one[[0, 2, 4]], two[[0, 2, 4]])


def test_streamed_and_joint_candidates_give_the_same_release(monkeypatch: pytest.MonkeyPatch) -> None:
    mechanism = calibrated("10", 48)
    rows = np.random.default_rng(4).standard_normal((3, 48))
    joint = None
    for chunk in (2**20, 2**12, 24 * 7):
        monkeypatch.setattr(directional, "_CHUNK", chunk)
        released = mechanism.release(rows, SeededEntropy(2))
        joint = released if joint is None else joint
        assert np.array_equal(joint, released)


def test_every_output_is_one_of_the_candidates_that_no_input_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal support: the released rows are bit for bit candidates of the stream, for any input."""
    drawn: list[np.ndarray] = []
    original = directional.normals

    def recording(words: np.ndarray) -> np.ndarray:
        drawn.append(original(words))
        return drawn[-1]

    monkeypatch.setattr(directional, "normals", recording)
    mechanism = calibrated("2", 5)
    released = mechanism.release(np.random.default_rng(0).standard_normal((50, 5)), SeededEntropy(1))
    candidates = np.concatenate([d.reshape(-1, 5) for d in drawn])
    known = {c.tobytes() for c in candidates}
    assert all(row.tobytes() in known for row in released)


def test_two_releases_differ() -> None:
    mechanism = calibrated("4", 16)
    rows = np.ones((2, 16))
    entropy = SystemEntropy()
    assert not np.array_equal(mechanism.release(rows, entropy), mechanism.release(rows, entropy))


@pytest.mark.parametrize("form", FORMS)
def test_zero_and_non_finite_rows_are_released_like_a_fixed_public_vector(form: str) -> None:
    mechanism = calibrated("4", 4, form=form)
    odd = np.array([[0, 0, 0, 0], [np.nan, 1, 1, 1], [np.inf, 0, 0, 0], [1, 0, 0, 0.0]])
    bounded = mechanism.bound(odd)
    assert np.array_equal(bounded, repeated([1.0, 0, 0, 0], 4))
    assert np.isfinite(mechanism.release(odd, SystemEntropy())).all()


@settings(deadline=None, max_examples=60)
@given(rows=hnp.arrays(np.float64, (3, 7), elements=st.floats(width=64)))
def test_every_bounded_block_has_unit_length(rows: np.ndarray) -> None:
    mechanism = calibrated("16", 7)
    bounded = mechanism.bound(rows)
    for start, stop in ((0, 4), (4, 7)):
        assert np.abs(np.sqrt((bounded[:, start:stop] ** 2).sum(axis=1)) - 1).max() <= 15 * 2.0**-52


@given(scale=st.floats(1e-150, 1e150))
@settings(deadline=None, max_examples=30)
def test_length_has_no_influence_on_the_release(scale: float) -> None:
    mechanism = calibrated("2", 6)
    row = np.array([[0.3, -1.0, 0.25, 0, 2.0, -0.7]])
    power = 2.0 ** round(math.log2(scale))
    one, two = (mechanism.release(r, SeededEntropy(1)) for r in (row, row * power))
    assert np.array_equal(one, two)


def test_rows_that_were_not_bounded_are_bounded_before_the_draw() -> None:
    mechanism = calibrated("2", 4)
    row = np.array([[3.0, 4.0, 0, 0]])
    assert np.array_equal(mechanism.randomise(1000 * row, SeededEntropy(1)), mechanism.release(row, SeededEntropy(1)))


# --- audit ---


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("epsilon", ["0.5", "1", "2", "4"])
def test_the_cap_event_certifies_nine_tenths_and_never_more(
    epsilon: str, form: str, certified: Callable[..., float], never: float
) -> None:
    trials = 1_000_000 if form == "gaussian" else 400_000
    mechanism = calibrated(epsilon, 2, form=form)
    unit = np.array([0.8, -0.6])
    hits, others = (
        in_cap(mechanism, mechanism.release(repeated(list(sign * unit), trials), SystemEntropy()), unit)
        for sign in (1, -1)
    )
    bar = 0.9 if form == "gaussian" else 0.85
    assert certified(hits, others, trials) >= bar * float(epsilon)
    assert certified(hits, others, trials, never) <= float(epsilon)


def test_a_coin_for_a_cap_twice_as_large_fails_the_audit(certified: Callable[..., float], never: float) -> None:
    honest = calibrated("1", 2)
    block = honest.blocks[0]
    broken = Directional(honest._epsilon, (replace(block, coin=min(2**64 - 1, int(block.coin * 1.15))),))
    unit = np.array([1.0, 0.0])
    hits, others = (
        in_cap(broken, broken.release(repeated([sign, 0.0], 200_000), SystemEntropy()), unit) for sign in (1.0, -1.0)
    )
    assert certified(hits, others, 200_000, never) > 1


class ConstantOrthogonalPart(Directional):
    """Broken: the definition read literally, with one w for all rows; marginal tests along u do not see it."""

    def randomise(self, bounded: np.ndarray, entropy: Any) -> np.ndarray:
        units = self.bound(bounded)
        along = (super().randomise(bounded, entropy) * units).sum(axis=1, keepdims=True)
        constant = np.linspace(-1, 1, units.shape[1])
        return constant - (units @ constant)[:, None] * units + along * units


def residual_rank(mechanism: Directional, dimension: int) -> int:
    rows = repeated([1.0] + [0.0] * (dimension - 1), 2000)
    noise = mechanism.release(rows, SeededEntropy(1))
    return int(np.linalg.matrix_rank(np.cov(noise.T), tol=0.1))


def test_a_constant_orthogonal_part_passes_the_cap_event_but_not_the_rank_test(
    certified: Callable[..., float], never: float
) -> None:
    honest = calibrated("2", 5)
    broken = ConstantOrthogonalPart(honest._epsilon, honest.blocks)
    unit = np.array([1.0, 0, 0, 0, 0])
    hits, others = (
        in_cap(broken, broken.release(repeated(list(s * unit), 50_000), SystemEntropy()), unit) for s in (1, -1)
    )
    assert certified(hits, others, 50_000, never) <= 2
    assert residual_rank(honest, 5) == 5
    assert residual_rank(broken, 5) < 5


class OpenLoop(Directional):
    """Broken: draws until it succeeds, so that the number of bytes shows the side."""

    def randomise(self, bounded: np.ndarray, entropy: Any) -> np.ndarray:
        units = self.bound(bounded)
        block = self.blocks[0]
        out = np.empty_like(units)
        for i, unit in enumerate(units):
            upper = directional.coins(entropy.words(1, np.uint64), block.coin)[0]
            while True:
                candidate = directional.normals(entropy.words(len(unit), np.uint64))
                if (candidate @ unit >= block.gamma) == upper:
                    out[i] = candidate
                    break
        return out


def test_an_open_loop_shows_in_the_bytes_drawn(counting: type[Any]) -> None:
    honest = calibrated("4", 3)
    for mechanism, shows in ((honest, False), (OpenLoop(honest._epsilon, honest.blocks), True)):
        counts = set()
        for seed in range(20):
            entropy = counting(seed)
            mechanism.release(np.ones((1, 3)), entropy)
            counts.add(entropy.count)
        assert (len(counts) > 1) == shows


# --- likelihood, prior, claim ---


@pytest.mark.parametrize("form", FORMS)
def test_likelihoods_take_two_values_a_block_that_differ_by_epsilon(form: str) -> None:
    mechanism = calibrated("12", 6, form=form)
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((200, 6))
    values = mechanism.log_likelihood(mechanism.release(latent, SeededEntropy(1)), latent)
    assert len(np.unique(values.round(9))) <= 3
    extremes = mechanism.log_likelihood(np.concatenate([9 * latent[:1], -9 * latent[:1]]), latent[:1])
    assert extremes[0] - extremes[1] == pytest.approx(12, rel=1e-5)


def test_likelihoods_are_densities_against_the_candidates_law() -> None:
    mechanism = calibrated("2", 3)
    latent = np.array([[1.0, 2.0, -1.0]])
    candidates = np.random.default_rng(0).standard_normal((200_000, 3))
    assert np.exp(mechanism.log_likelihood(candidates, latent)).mean() == pytest.approx(1, abs=0.01)


def test_one_row_is_repeated_on_either_side() -> None:
    mechanism = calibrated("2", 3)
    rows = np.random.default_rng(0).standard_normal((4, 3))
    assert mechanism.log_likelihood(rows[:1], rows).shape == mechanism.log_likelihood(rows, rows[:1]).shape == (4,)


@pytest.mark.parametrize(("epsilon", "same"), [("4", True), ("8", False)])
def test_to_prior_restores_the_mean_square_above_epsilon_four(epsilon: str, same: bool) -> None:
    mechanism = calibrated(epsilon, 6)
    released = mechanism.release(np.random.default_rng(0).standard_normal((4000, 6)), SeededEntropy(1))
    brought = mechanism.to_prior(released)
    assert np.array_equal(brought, released) == same
    assert same or (brought**2).mean() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("form", FORMS)
def test_blocks_add_up_to_the_claim(form: str) -> None:
    mechanism = calibrated("20", 32, form=form)
    assert len(mechanism.blocks) == 3
    assert [b.k for b in mechanism.blocks] == [11, 11, 10]
    log_worst = sum(math.log(b.charged()) for b in mechanism.blocks)
    assert 20 - 1e-6 < log_worst <= 20
    claim = mechanism.guarantee(32)
    assert claim.pure and claim.epsilon == claim.image_epsilon == 20 and claim.bound.kind == "direction"
    assert claim.parameters["blocks"] == "3"


def test_sphere_releases_have_the_priors_length() -> None:
    mechanism = calibrated("8", 16, form="sphere")
    released = mechanism.release(np.ones((10, 16)), SystemEntropy())
    assert np.sqrt((released**2).sum(axis=1)) == pytest.approx(4)


def test_anything_kept_in_clear_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="makes epsilon infinite"):
        calibrated("1", 8, in_clear=[3])
    assert calibrated("1", 8, in_clear=()).dimension == 8


@pytest.mark.parametrize(
    ("claim", "options", "message"),
    [
        (Claim.of(1, "0.1"), {}, "delta must be 0"),
        (Claim.of(1, unit="element"), {}, "unit must be image"),
        (Claim.of(1), {"form": "cube"}, "form must be"),
        (Claim.of(1), {"clip": 3}, "options must be"),
        (Claim.of(1), {"blocks": 9}, "blocks must be between"),
        (Claim.of(100), {}, "keep more elements"),
    ],
)
def test_what_cannot_be_kept_is_refused(claim: Claim, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Directional.calibrate(claim, 8, **options)


def test_rows_of_another_dimension_are_refused() -> None:
    with pytest.raises(ValueError, match=r"latent must be \(n, 8\)"):
        calibrated("1", 8).bound(np.zeros((2, 7)))
    with pytest.raises(ValueError, match="dimension must be 8"):
        calibrated("1", 8).guarantee(7)

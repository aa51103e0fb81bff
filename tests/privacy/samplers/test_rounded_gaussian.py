"""The rounded Gaussian: its law, and that every integer it returns is the true rounding, in the far cells too."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import MPContext
from scipy.special import log_ndtr, ndtri

from veilray.privacy import SeededEntropy, SystemEntropy
from veilray.privacy.normal_tail import upper_tail
from veilray.privacy.samplers import rounded_gaussian as module
from veilray.privacy.samplers.rounded_gaussian import RoundedGaussian

TRUE = MPContext()
TRUE.prec = 600


def word(cell: int, sign: int = 0) -> int:
    return cell << 12 | sign


def true_quantile(cell: int, further: list[int]):
    """Phi^-1(1 - U) at the digits given, to 600 bits, by Newton's method on the true tail."""
    digits = 53 + 64 * len(further)
    for more in further:
        cell = cell << 64 | more
    u = TRUE.ldexp(2 * cell + 1, -digits - 1)
    x = TRUE.mpf(float(-module.ndtri_exp(float(TRUE.log(u)))))
    for _ in range(12):
        density = TRUE.exp(-x * x / 2) / TRUE.sqrt(2 * TRUE.pi)
        x += (TRUE.ncdf(-x) - u) / density
    return x


@pytest.mark.parametrize("scale", [Fraction(1), Fraction(256), Fraction(280_000), Fraction(2**34)])
@pytest.mark.parametrize("cell", [0, 1, 2, 3, 9, 100, 2**20, 2**40, 2**52 - 1])
def test_the_far_cells_round_as_the_true_quantile(scale, cell, chosen_words):
    further = [2**63 + 12345, 2**62 + 999, 7, 8]
    entropy = chosen_words([word(cell), *further])
    drawn = RoundedGaussian(scale).sample((1, 1), entropy)[0, 0]
    used = entropy.drawn // 8 - 1
    value = true_quantile(cell, further[:used]) * TRUE.mpf(scale.numerator) / scale.denominator
    assert drawn == int(TRUE.nint(value))
    assert RoundedGaussian(scale).sample((1, 1), chosen_words([word(cell, 1), *further]))[0, 0] == -drawn


def test_the_first_cell_always_takes_further_digits(chosen_words):
    entropy = chosen_words([word(0), 2**63])
    RoundedGaussian(Fraction(1, 2)).sample((1, 1), entropy)
    assert entropy.drawn == 16


def test_zeros_are_refined_until_there_is_a_digit(chosen_words):
    # U = 2^-53 * 2^-640 or so: 30 deviations out, far below what float64 digits reach.
    entropy = chosen_words([word(0), *[0] * 10, 2**63])
    drawn = int(RoundedGaussian(Fraction(1)).sample((1, 1), entropy)[0, 0])
    assert drawn == round(float(-module.ndtri_exp(-693.5 * math.log(2) - math.log(2) * 0.5)))


@pytest.mark.parametrize("constant", [1e-9, 1e-3])
def test_a_constant_margin_would_be_wrong(constant):
    # The mutation: refine only where rint changes within a fixed distance. At 7 and 8 deviations it decides wrongly.
    s, wrong = 280_000.0, 0
    for cell in (2, 3, 5, 11_000, 11_001, 11_003):
        x = s * float(-ndtri(cell * 2.0**-53))
        decided = round(x - constant) == round(x + constant)
        ends = {int(TRUE.nint(true_quantile(cell, [end]) * s)) for end in (0, 2**64 - 1)}
        wrong += decided and len(ends) > 1
    assert wrong >= 4


@given(st.integers(1, 2**52 - 1), st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None)
def test_the_enclosure_holds_the_true_quantile(cell, more):
    a = cell * 2.0**-53
    x = float(-ndtri(a))
    low = x * (1 - module._SHARE) - module._CELL / module._HAZARD / a
    assert low <= true_quantile(cell, [more]) <= x * (1 + module._SHARE)


@given(st.integers(1, 2**52 - 1) | st.integers(1, 2**20))
@settings(max_examples=120, deadline=None)
def test_ndtri_is_sixteen_times_better_than_its_margin(cell):
    true = true_quantile(cell, [])
    u = TRUE.ldexp(2 * cell + 1, -54)
    assert abs(TRUE.mpf(float(-ndtri(float(u)))) - true) <= true * TRUE.mpf(2) ** -48 + TRUE.mpf(2) ** -54


@pytest.mark.parametrize("n", [0, 1, 5, 300])
def test_a_cell_is_taken_for_an_integer_only_when_all_of_it_rounds_there(n):
    noise, step = RoundedGaussian(Fraction(40)), Fraction(1, 2**60)
    far, near = (upper_tail((n + half) / noise.scale, 200)[0] for half in (Fraction(1, 2), Fraction(-1, 2)))
    assert noise._rounds_to(n, far + step, min(near - step, Fraction(1, 2)), 128)
    assert not noise._rounds_to(n, far - step, far + step, 128)
    if n:
        assert not noise._rounds_to(n, near - step, near + step, 128)


def test_the_hazard_bound_holds():
    u = np.append(np.logspace(-16, -1, 200), np.linspace(0.1, 0.5, 200))
    x = ndtri(u)
    assert (np.exp(-x * x / 2) / math.sqrt(2 * math.pi) >= math.sqrt(2 / math.pi) * u * (1 - 1e-12)).all()
    assert Fraction(module._HAZARD) ** 2 < Fraction("0.63661977236758134307")  # 2 / pi


@pytest.mark.parametrize("entropy", [SeededEntropy(5), SystemEntropy()], ids=["seeded", "system"])
@pytest.mark.parametrize("scale", [Fraction(1, 4), Fraction(1), Fraction(37, 8)])
def test_samples_follow_the_exact_law(scale, entropy, fits):
    noise = RoundedGaussian(scale)
    drawn = noise.sample((4, 100_000), entropy).reshape(-1)
    counts = np.bincount(drawn - drawn.min())
    law = np.exp(noise.log_probability(np.arange(drawn.min(), drawn.max() + 1)))
    assert fits(np.append(counts, 0), np.append(law, max(0.0, 1 - law.sum())))


@pytest.mark.parametrize("scale", [Fraction(5000), Fraction(3 * 10**8)])
def test_wide_samples_follow_the_exact_law(scale, fits):
    from scipy.special import ndtr

    drawn = RoundedGaussian(scale).sample((1, 200_000), SeededEntropy(6))[0]
    assert fits(np.histogram(ndtr(drawn / float(scale)), bins=200, range=(0, 1))[0], np.full(200, 1 / 200))
    assert fits(np.bincount(drawn & 15, minlength=16), np.full(16, 1 / 16))


@pytest.mark.parametrize("factor", [2, Fraction(1, 2), Fraction(99, 100)], ids=["doubled", "halved", "one percent"])
def test_a_wrong_scale_is_seen(factor, fits):
    from scipy.special import ndtr

    drawn = RoundedGaussian(Fraction(float(5000 * factor))).sample((1, 400_000), SeededEntropy(6))[0]
    assert not fits(np.histogram(ndtr(drawn / 5000), bins=200, range=(0, 1))[0], np.full(200, 1 / 200))


def test_agrees_with_opendp(agree):
    dp = pytest.importorskip("opendp.prelude")
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=float)
    theirs = np.array((space >> dp.m.then_gaussian(scale=30.0))([0] * 30_000))
    ours = RoundedGaussian(Fraction(30)).sample((1, 100_000), SeededEntropy(8))[0]
    # Discrete and rounded Gaussian differ by a variance of 1/12 in 900: nothing 30,000 draws could see.
    assert agree(theirs, ours)
    assert not agree(theirs, RoundedGaussian(Fraction(33)).sample((1, 100_000), SeededEntropy(8))[0])


@pytest.mark.parametrize("scale", [Fraction(1, 8), Fraction(3), Fraction(999), Fraction(1001)])
def test_log_probability_normalises(scale):
    reach = math.ceil(40 * scale) + 2
    law = RoundedGaussian(scale).log_probability(np.arange(-reach, reach + 1))
    assert np.exp(law).sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("scale", [5.0, 999.0, 1000.0, 1e6])
@pytest.mark.parametrize("deviations", [0, 1, 8, 30])
def test_log_probability_is_exact_far_out(scale, deviations):
    n = int(scale * deviations)
    true = TRUE.log(TRUE.ncdf(-(TRUE.mpf(n) - 0.5) / scale) - TRUE.ncdf(-(TRUE.mpf(n) + 0.5) / scale))
    found = RoundedGaussian(Fraction(scale)).log_probability(np.array([n, -n]))
    assert found == pytest.approx([float(true)] * 2, rel=1e-9)


def test_log_probability_stays_finite_where_logs_of_tails_cancel():
    far = np.array([10**9, -(10**12)])
    assert np.isfinite(RoundedGaussian(Fraction(50)).log_probability(far)).all()
    assert np.isfinite(RoundedGaussian(Fraction(5000)).log_probability(far)).all()
    assert log_ndtr(-1e6) < -1e11


@pytest.mark.parametrize("shape", [(3, 40_000), (700, 64), (50, 1), (2, 16384)])
def test_a_rows_noise_does_not_depend_on_other_rows(shape):
    # A scale at which one draw in a thousand is refined, so that refinements of other rows are in the way.
    noise = RoundedGaussian(Fraction(2**36)) if shape[1] == 64 else RoundedGaussian(Fraction(1000))
    whole = noise.sample(shape, SeededEntropy(4))
    fewer = noise.sample((shape[0] - 1, shape[1]), SeededEntropy(4))
    assert np.array_equal(whole[:-1], fewer)


def test_empty_shapes_give_empty_arrays():
    assert RoundedGaussian(Fraction(1)).sample((0, 5), SystemEntropy()).shape == (0, 5)
    assert RoundedGaussian(Fraction(1)).sample((0, 5), SeededEntropy(1)).shape == (0, 5)


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (Fraction(0), "scale must be in"),
        (Fraction(2**37), "scale must be in"),
        (Fraction(1, 3), "scale must be a float64 number"),
    ],
)
def test_impossible_scales_are_refused(scale, message):
    with pytest.raises(ValueError, match=message):
        RoundedGaussian(scale)

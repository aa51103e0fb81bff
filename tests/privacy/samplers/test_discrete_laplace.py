"""The discrete Laplace sampler: its law, its support, its exact worst ratio, and the mutations these catch."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from functools import cached_property

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import MPContext

from veilray.privacy import SeededEntropy, SystemEntropy
from veilray.privacy.normal_tail import exp_between
from veilray.privacy.samplers import discrete_laplace as module
from veilray.privacy.samplers.discrete_laplace import CHARGE, DiscreteLaplace

SAMPLERS = st.builds(
    lambda clip, epsilon: DiscreteLaplace(2 * clip / epsilon, clip),
    st.integers(1, 10**7),
    st.fractions(min_value=Fraction(1, 10**5), max_value=500, max_denominator=10**6),
)


class TooFewDigits(DiscreteLaplace):
    """The mutation: a constant number of digits, however large t is."""

    @cached_property
    def digits(self) -> int:
        return 20 if self.scale > 1000 else 5


def exact_law(noise: DiscreteLaplace) -> list[int]:
    """P(N = n) that the implemented thresholds give, for every n, in units of 2^-(F J)."""
    law = [1]
    for threshold in noise.thresholds:
        law = [p * (2**noise.precision - threshold) for p in law] + [p * threshold for p in law]
    assert sum(law) == 2 ** (noise.precision * noise.digits)
    return law


def released_law(noise: DiscreteLaplace, q: int, law: list[int]) -> list[int]:
    """Pr[y | q] for y - 1/2 = -B, ..., B - 1, clamped ends included; in units of 2^-(F J + 1)."""
    b = noise.limit
    found = [0] * (2 * b)
    for n, p in enumerate(law):
        for v in (n, -n - 1):
            found[min(max(q + v, -b), b - 1) + b] += p
    return found


def worst_ratios(noise: DiscreteLaplace) -> tuple[Fraction, Fraction]:
    """Largest Pr[y | q] / Pr[y | q'] over all outputs, for all pairs of inputs and for neighbours; rounded up."""
    law = exact_law(noise)
    columns = list(zip(*(released_law(noise, q, law) for q in range(-noise.clip, noise.clip + 1)), strict=True))
    assert all(p > 0 for column in columns for p in column)

    def ratio(column: tuple[int, ...]) -> int:
        return -(-(max(column) << 300) // min(column))

    pairs = (pair for c in columns for pair in itertools.pairwise(c))
    return Fraction(max(map(ratio, columns)), 2**300), Fraction(max(map(ratio, pairs)), 2**300)


@pytest.mark.parametrize(("scale", "clip"), [("1/3", 1), ("1", 2), ("7/3", 3), ("4", 2), ("15/2", 5)])
def test_the_worst_ratio_over_all_outputs_is_within_the_claim_and_reaches_it(scale, clip):
    noise = DiscreteLaplace(Fraction(scale), clip)
    for ratio, distance in zip(worst_ratios(noise), (2 * clip, 1), strict=True):
        epsilon = distance / noise.scale
        assert ratio <= exp_between(epsilon + CHARGE, 200)[0]
        assert ratio >= exp_between(epsilon * Fraction(99, 100))[1]


def test_a_halved_scale_breaks_the_worst_ratio():
    worst, _ = worst_ratios(DiscreteLaplace(Fraction(2), 2))
    assert worst > exp_between(Fraction(4, 4) + CHARGE)[1]  # claimed with t = 4


def test_too_few_digits_break_the_worst_ratio():
    worst, _ = worst_ratios(TooFewDigits(Fraction(40), 2))
    assert worst > exp_between(Fraction(4, 40) + CHARGE)[1]


def test_the_charge_covers_the_cut_tail_and_the_thresholds():
    noise = DiscreteLaplace(Fraction(3), 4)
    context = MPContext()
    context.prec = 2000
    law = [context.mpf(p) for p in exact_law(noise)]
    m = 2 ** (noise.digits - 1)
    true = [context.exp(-context.mpf(n) / 3) for n in range(m)]
    assert all(abs(law[n] / law[0] / true[n] - 1) < context.mpf(2) ** -97 for n in range(m))
    # The end gathers all from n on, at most to n = M - 1; uncut that is exp(-n / t) of the whole.
    assert abs(context.fsum(law[m - 1 :]) / context.fsum(law) / true[m - 1] - 1) < context.mpf(2) ** -98


@given(SAMPLERS)
@settings(max_examples=60, deadline=None)
def test_digits_grow_with_the_scale_and_every_input_has_the_same_support(noise):
    scale, clip = noise.scale, noise.clip
    m = 2 ** (noise.digits - 1)
    assert m / scale >= 100 * math.log(2)
    assert m / scale < 200 * math.log(2) or m < 8 * clip + 4
    assert noise.limit > clip
    # Reach: from q = -C the far end needs N = B - 1 + C, and there are J digits for it; the top one only at the ends.
    assert noise.limit - 1 + clip < m


@given(SAMPLERS)
@settings(max_examples=25, deadline=None)
def test_thresholds_are_within_their_share_of_the_coins(noise):
    scale = noise.scale
    context = MPContext()
    context.prec = noise.precision + 200
    for digit in {0, noise.digits // 2, noise.digits - 2, noise.digits - 1}:
        coin = 1 / (1 + context.exp(context.mpf(2**digit) * scale.denominator / scale.numerator))
        implemented = context.mpf(noise.thresholds[digit]) / context.mpf(2) ** noise.precision
        assert implemented <= coin
        assert coin - implemented <= coin * context.mpf(2) ** -104


def test_twenty_digits_would_not_do_at_the_scale_of_an_image():
    noise = DiscreteLaplace(Fraction(2 * 3072 * 4096, 8), 3072)
    assert noise.digits == 29


@pytest.mark.parametrize("entropy", [SeededEntropy(5), SystemEntropy()], ids=["seeded", "system"])
@pytest.mark.parametrize("scale", [Fraction(1, 4), Fraction(7, 10), Fraction(5), Fraction(40)])
def test_samples_follow_the_exact_law(scale, entropy, fits):
    noise = DiscreteLaplace(scale, 1)
    drawn = noise.sample((4, 100_000), entropy).reshape(-1)
    lowest, highest = int(drawn.min()), int(drawn.max())
    counts = np.bincount(drawn - lowest)
    n = np.arange(lowest, highest + 1)
    n = np.where(n >= 0, n, -n - 1)
    law = (1 - math.exp(-1 / scale)) / 2 * np.exp(-n / float(scale))
    assert fits(np.append(counts, 0), np.append(law, max(0.0, 1 - law.sum())))


@pytest.mark.parametrize("scale", [Fraction(10**6), Fraction(10**6, 3), Fraction(3 * 10**10)], ids=["29", "26", "43"])
def test_wide_samples_follow_the_exact_law(scale, fits):
    noise = DiscreteLaplace(scale, 768)
    drawn = noise.sample((1, 400_000), SeededEntropy(6))[0] + 0.5
    uniform = np.where(drawn < 0, np.exp(drawn / float(scale)) / 2, 1 - np.exp(-drawn / float(scale)) / 2)
    assert fits(np.histogram(uniform, bins=200, range=(0, 1))[0], np.full(200, 1 / 200))
    assert fits(np.bincount(drawn.astype(np.int64) & 15, minlength=16), np.full(16, 1 / 16))


@pytest.mark.parametrize("factor", [2, Fraction(1, 2), Fraction(99, 100)], ids=["doubled", "halved", "one percent"])
def test_a_wrong_scale_is_seen(factor, fits):
    drawn = DiscreteLaplace(Fraction(1000) * factor, 1).sample((1, 400_000), SeededEntropy(6))[0] + 0.5
    uniform = np.where(drawn < 0, np.exp(drawn / 1000) / 2, 1 - np.exp(-drawn / 1000) / 2)
    assert not fits(np.histogram(uniform, bins=200, range=(0, 1))[0], np.full(200, 1 / 200))


def test_too_few_digits_are_seen(fits):
    drawn = TooFewDigits(Fraction(3_100_000), 768).sample((1, 100_000), SeededEntropy(6))[0] + 0.5
    uniform = np.where(drawn < 0, np.exp(drawn / 3.1e6) / 2, 1 - np.exp(-drawn / 3.1e6) / 2)
    assert not fits(np.histogram(uniform, bins=200, range=(0, 1))[0], np.full(200, 1 / 200))


def test_agrees_with_opendp(agree):
    dp = pytest.importorskip("opendp.prelude")
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T=int)), dp.l1_distance(T=int)
    theirs = np.array((space >> dp.m.then_laplace(scale=25.0))([0] * 60_000))
    ours = DiscreteLaplace(Fraction(25), 1).sample((1, 60_000), SeededEntropy(8))[0]
    # Supports differ (integers, half-integers): the distance past the smallest has one law on both.
    sizes = np.abs(theirs[theirs != 0]) - 1
    assert agree(sizes, np.where(ours >= 0, ours, -ours - 1))
    assert abs((theirs > 0).sum() / len(sizes) - 0.5) < 0.02
    wrong = DiscreteLaplace(Fraction(27), 1).sample((1, 60_000), SeededEntropy(8))[0]
    assert not agree(sizes, np.where(wrong >= 0, wrong, -wrong - 1))


def test_neighbouring_elements_rows_and_digits_are_independent():
    drawn = DiscreteLaplace(Fraction(50), 1).sample((600, 700), SeededEntropy(3))
    values = np.sign(drawn + 0.5)
    for a, b in ((values[:, 1:], values[:, :-1]), (values[1:], values[:-1])):
        assert abs((a * b).mean()) < 6 / math.sqrt(a.size)
    n = np.where(drawn >= 0, drawn, -drawn - 1)
    digits = [(n >> j & 1).reshape(-1) - (n >> j & 1).mean() for j in range(6)]
    for i in range(6):
        for j in range(i):
            correlation = (digits[i] * digits[j]).mean() / digits[i].std() / digits[j].std()
            assert abs(correlation) < 6 / math.sqrt(n.size)
        assert abs((digits[i] * values.reshape(-1)).mean()) < 6 / math.sqrt(n.size)


def test_noise_shared_by_pairs_is_seen():
    # The mutation that marginal tests pass: every second element repeats its neighbour's noise.
    drawn = DiscreteLaplace(Fraction(50), 1).sample((600, 350), SeededEntropy(3)).repeat(2, axis=1)
    values = np.sign(drawn + 0.5)
    assert abs((values[:, 1:] * values[:, :-1]).mean()) > 6 / math.sqrt(drawn.size)


@pytest.mark.parametrize("shape", [(3, 40_000), (700, 64), (50, 1), (2, 16384), (1, 1)])
def test_a_rows_noise_does_not_depend_on_other_rows(shape):
    noise = DiscreteLaplace(Fraction(1000), 5)
    whole = noise.sample(shape, SeededEntropy(4))
    fewer = noise.sample((max(1, shape[0] - 1), shape[1]), SeededEntropy(4))
    assert np.array_equal(whole[: len(fewer)], fewer)
    assert len({row.tobytes() for row in whole}) == shape[0] or shape[1] == 1


def test_empty_shapes_give_empty_arrays():
    assert DiscreteLaplace(Fraction(1), 1).sample((0, 5), SystemEntropy()).shape == (0, 5)
    assert DiscreteLaplace(Fraction(1), 1).sample((0, 5), SeededEntropy(1)).shape == (0, 5)


def test_how_much_is_drawn_depends_on_the_coins_only(chosen_words):
    noise = DiscreteLaplace(Fraction(1000), 50)
    counts, results = set(), set()
    for q in (-50, 0, 50):
        entropy = chosen_words(seed=2)
        results.add(noise.add(np.full((4, 30_000), q), entropy).tobytes())
        counts.add(entropy.drawn)
    assert len(counts) == 1
    assert len(results) == 3


def test_ties_take_further_bits_and_decide_exactly(chosen_words):
    noise = DiscreteLaplace(Fraction(9), 1)
    first = [t >> (noise.precision - 16) for t in noise.thresholds]
    limbs = [[t >> s & (2**64 - 1) for s in range(noise.precision - 80, -1, -64)] for t in noise.thresholds]
    words = np.array([*first, 0], "<u2")  # every digit tied, sign 1
    words = np.concatenate([words, np.zeros(-len(words) % 4, "<u2")])
    assert (noise.digits + 1) % 4 == 0  # so that no chosen padding is read as a further word
    plain = [int(word) for word in words.view("<u8")]
    below = [0] * 400
    above = [limb[0] + 1 for limb in limbs]
    all_ones = 2**noise.digits - 1
    assert noise.sample((1, 1), chosen_words([*plain, *below]))[0, 0] == -all_ones - 1
    assert noise.sample((1, 1), chosen_words([*plain, *above]))[0, 0] == -1
    # Tied to the very last limb: F bits equal to the threshold are not below it.
    tied = [limb[level] for level in range(len(limbs[0])) for limb in limbs]
    assert noise.sample((1, 1), chosen_words([*plain, *tied]))[0, 0] == -1
    last = [*tied[: -noise.digits], *(limb[-1] - 1 for limb in limbs)]
    assert noise.sample((1, 1), chosen_words([*plain, *last]))[0, 0] == -all_ones - 1


def test_frequent_ties_keep_the_law(monkeypatch, fits):
    # With a 16-bit word nearly never tied, the path of ties would go untested: make every second word a tie.
    noise = DiscreteLaplace(Fraction(5), 1)
    original = np.equal

    def fill(self, first, out):
        out[...] = np.random.default_rng(7).integers(0, 2**16, out.shape, np.uint16)
        out[:-1] = np.where(out[:-1] & 1, noise._first[:-1], out[:-1])

    monkeypatch.setattr(module.RowStreams, "fill", fill)
    drawn = noise.sample((1, module.BLOCK), SystemEntropy())[0]
    assert original(drawn, drawn).all()
    n = np.where(drawn >= 0, drawn, -drawn - 1)
    # A coin: half the time a plain word (even, so biased by 2^-16 only), half the time decided by the rest of the bits.
    for digit in range(4):
        threshold = noise.thresholds[digit]
        rest = (threshold & (2 ** (noise.precision - 16) - 1)) / 2 ** (noise.precision - 16)
        plain = math.ceil((threshold >> (noise.precision - 16)) / 2) / 2**15
        p = 0.5 * rest + 0.5 * plain
        share = (n >> digit & 1).mean()
        assert fits([share * len(n), (1 - share) * len(n)], [p, 1 - p])


def test_outputs_are_clamped_for_every_input(chosen_words):
    noise = DiscreteLaplace(Fraction(3), 4)
    ones = [0] * 200  # every coin below its threshold: the largest N, negative
    for q in (-4, 0, 4):
        released = noise.add(np.full((1, 8), q), chosen_words(ones))
        assert (released == -noise.limit).all()


def test_log_probability_is_the_exact_law():
    noise = DiscreteLaplace(Fraction(7, 3), 3)
    law = exact_law(noise)
    y = np.arange(-noise.limit, noise.limit)
    for q in (-3, 0, 2):
        stated = noise.log_probability(y, np.full(y.shape, q))
        unit = (noise.precision * noise.digits + 1) * math.log(2)
        true = np.array([math.log(p) - unit for p in released_law(noise, q, law)])
        assert np.abs(stated - true).max() < 1e-11
        assert np.exp(stated).sum() == pytest.approx(1, abs=1e-12)
    assert np.isneginf(noise.log_probability(np.array([-noise.limit - 1, noise.limit]), np.array([0, 0]))).all()


@pytest.mark.parametrize(
    ("scale", "clip", "message"),
    [
        (Fraction(0), 1, "scale must be above 0"),
        (Fraction(1), 0, "clip must be at least 1"),
        (Fraction(1), 10**4, "scale must be at least clip / 5,000"),
        (Fraction(10**16), 1, "fewer grid bits or a larger epsilon"),
    ],
)
def test_impossible_samplers_are_refused(scale, clip, message):
    with pytest.raises(ValueError, match=message):
        DiscreteLaplace(scale, clip)

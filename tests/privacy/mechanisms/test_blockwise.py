"""Blockwise release: the sum of the blocks' claims, blocks apart from each other, blocks left out."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import kstest

from veilray.evaluation.audit import audit, subject_of
from veilray.privacy.card import card_text
from veilray.privacy.composition import Gaussian as GaussianEvent
from veilray.privacy.composition import events_of
from veilray.privacy.entropy import Entropy, SeededEntropy, SystemEntropy
from veilray.privacy.guarantee import Guarantee, Releases
from veilray.privacy.mechanisms import MECHANISMS, Blockwise, Claim, Codebook, Laplace
from veilray.privacy.mechanisms.gaussian import Gaussian

SIZES, EDGES = (3, 5, 4), ((0, 3), (3, 8), (8, 12))
LISTED = np.random.default_rng(7).normal(size=(32, 12))
KINDS: dict[str, dict[str, Any]] = {
    "directional": {},
    "laplace": {"clip": "5/2"},
    "gaussian": {},
    "codebook": {},
    "selection": {"candidates": LISTED},
}


def made(of: str = "directional", epsilon: str | Fraction = "4", **options: Any) -> Blockwise:
    options = {"sizes": "3,5,4", "shares": "3,1,0", **KINDS[of], **options}
    delta = options.pop("delta", "1e-5" if of == "gaussian" else 0)
    return Blockwise.calibrate(Claim.of(epsilon, delta), sum(SIZES), of=of, **options)


def rows(seed: int, count: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, sum(SIZES)))


def test_is_registered() -> None:
    assert MECHANISMS["blockwise"] is Blockwise


# --- the claim ---


@settings(deadline=None, max_examples=25)
@given(
    shares=st.lists(st.fractions(0, 4, max_denominator=50), min_size=1, max_size=4).filter(any),
    delta=st.fractions(Fraction(1, 10**9), Fraction(1, 10**3)),
    pure=st.booleans(),
)
def test_the_blocks_claims_sum_to_the_whole_as_fractions(shares: list[Fraction], delta: Fraction, pure: bool) -> None:
    claim = Claim(sum(shares, Fraction(0)), Fraction(0) if pure else delta)
    of = "laplace" if pure else "gaussian"
    mechanism = Blockwise.calibrate(claim, 2 * len(shares), of=of, sizes=[2] * len(shares), shares=shares)
    inner = [block.mechanism.guarantee(2) for block in mechanism.blocks if block.mechanism is not None]
    assert len(inner) == sum(share > 0 for share in shares)
    stated = mechanism.guarantee(2 * len(shares))
    assert sum(one.epsilon for one in inner) == stated.epsilon == stated.image_epsilon == claim.epsilon
    assert sum(one.delta for one in inner) == stated.delta == stated.image_delta == claim.delta
    assert Guarantee.from_json(stated.to_json()) == stated


@settings(deadline=None, max_examples=40)
@given(hnp.arrays(np.float64, (2, 5), elements=st.floats(width=64)))
def test_no_two_inputs_ever_differ_by_more_than_epsilon(records: np.ndarray) -> None:
    """Every output of two code books and one block that is not there, under any two records."""
    mechanism = Blockwise.calibrate(Claim.of("3"), 5, of="codebook", sizes="2,2,1", shares="2,1,0")
    first, second = (block.mechanism for block in mechanism.blocks[:2])
    assert isinstance(first, Codebook) and isinstance(second, Codebook)
    pairs = [(a, b) for a in range(4) for b in range(4)]
    words = [codebook.words_of(np.array(pairs)[:, [at]]) for at, codebook in enumerate((first, second))]
    outputs = np.concatenate([*words, np.zeros((16, 1))], axis=1)
    one, two = (mechanism.log_likelihood(outputs, record[None]) for record in records)
    assert np.exp(one).sum() == pytest.approx(1)
    assert np.abs(one - two).max() <= 3 + 1e-9


def test_the_worst_case_reaches_the_sum() -> None:
    mechanism = made("codebook")
    row = rows(1, 1)
    one, two = (
        mechanism.log_likelihood(mechanism.release(np.repeat(row, 2000, axis=0), SeededEntropy(1)), sign * row)
        for sign in (1, -1)
    )
    assert np.max(one - two) == pytest.approx(4, abs=1e-6)


@pytest.mark.parametrize("of", KINDS)
def test_the_audit_finds_no_more_than_the_claim(of: str) -> None:
    report = audit(subject_of(made(of)), 8000, SeededEntropy(of))
    assert report.passed, report.failures
    likelihood = next(check for check in report.checks if check.test == "worst case / likelihood")
    assert likelihood.share is not None
    assert likelihood.share > 0.5 or of == "laplace"  # whole-image Laplace reaches its worst ratio too rarely


@pytest.mark.parametrize("of", KINDS)
def test_likelihoods_are_the_sum_of_the_blocks_own(of: str) -> None:
    mechanism, latent = made(of), rows(2)
    released = mechanism.release(latent, SeededEntropy(2))
    parts = [
        block.mechanism.log_likelihood(released[:, a:b], latent[:, a:b])
        for block, (a, b) in zip(mechanism.blocks, EDGES, strict=True)
        if block.mechanism is not None
    ]
    assert len(parts) == 2
    assert np.array_equal(mechanism.log_likelihood(released, latent), parts[0] + parts[1])
    assert mechanism.log_likelihood(released[:1], latent).shape == (6,)


# --- independence ---


@pytest.mark.parametrize("of", KINDS)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 1000))
def test_a_blocks_release_depends_on_its_own_elements_alone(of: str, seed: int) -> None:
    mechanism, row = made(of), rows(seed, 1)
    for start, stop in EDGES:
        altered = rows(seed + 1, 1)
        altered[:, start:stop] = row[:, start:stop]
        one, two = (mechanism.release(r, SeededEntropy(seed)) for r in (row, altered))
        assert np.array_equal(one[:, start:stop], two[:, start:stop])


@pytest.mark.parametrize("of", KINDS)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 1000), kept=st.integers(0, 5))
def test_rows_are_independent(of: str, seed: int, kept: int) -> None:
    mechanism, first, second = made(of), rows(seed), rows(seed + 1)
    second[kept] = first[kept]
    one, two = (mechanism.release(batch, SeededEntropy(seed)) for batch in (first, second))
    assert np.array_equal(one[kept], two[kept])


@pytest.mark.parametrize("of", ["directional", "gaussian", "laplace"])
def test_equal_blocks_share_no_noise(of: str) -> None:
    """Blocks of one size, one share and one content come out uncorrelated: they read other words."""
    claim = Claim.of("4", "1e-5" if of == "gaussian" else 0)
    mechanism = Blockwise.calibrate(claim, 6, of=of, sizes="2,2,2")
    released = mechanism.release(np.zeros((20_000, 6)), SeededEntropy(4))
    correlation = np.corrcoef(np.clip(released, *np.quantile(released, [0.01, 0.99])).T)
    assert np.abs(correlation - np.eye(6)).max() < 6 / math.sqrt(20_000)


class Recording(SystemEntropy):
    """Notes who reads what: every word given out, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[bytes] = []

    def fill(self, out: memoryview) -> None:
        super().fill(out)
        self.given.append(bytes(out))


def test_no_word_of_the_system_is_read_twice() -> None:
    entropy = Recording()
    made().release(rows(1, 200), entropy)
    words = np.frombuffer(b"".join(entropy.given), np.uint64)
    assert len(np.unique(words)) == len(words) > 200 * 12


@pytest.mark.parametrize("of", KINDS)
def test_every_input_takes_the_same_bytes(of: str, counting: type[Any]) -> None:
    counts = set()
    for latent in (np.zeros((3, 12)), rows(1, 3), np.full((3, 12), np.nan)):
        entropy: Any = counting(1)
        made(of).release(latent, entropy)
        counts.add(entropy.count)
    assert len(counts) == 1


# --- a block that is not there ---


@pytest.mark.parametrize("of", KINDS)
def test_a_block_without_a_share_is_the_prior_whatever_the_record(of: str) -> None:
    mechanism = made(of, "4", shares="0,4,0")
    far = 1e6 * np.ones((5000, 12))
    drawn = [mechanism.release(record, SeededEntropy(5))[:, [0, 1, 2, 8, 9, 10, 11]] for record in (far, -far)]
    assert np.array_equal(*drawn)
    assert kstest(drawn[0].reshape(-1), "norm").pvalue > 1e-6
    assert np.array_equal(mechanism.to_prior(mechanism.release(far, SeededEntropy(5)))[:, :3], drawn[0][:, :3])
    assert not mechanism.bound(far)[:, :3].any()


def test_it_adds_nothing_to_the_likelihood() -> None:
    mechanism, latent = made(), rows(3)
    released = mechanism.release(latent, SeededEntropy(3))
    other_release, other_latent = released.copy(), latent.copy()
    other_release[:, 8:], other_latent[:, 8:] = 5, -7
    found = mechanism.log_likelihood(released, latent)
    assert np.array_equal(mechanism.log_likelihood(other_release, other_latent), found)


# --- bounds ---


@pytest.mark.parametrize("of", KINDS)
def test_not_a_number_in_one_block_is_the_zero_row_in_all(of: str) -> None:
    mechanism, odd = made(of), rows(1, 3)
    odd[0, 0], odd[1, 9], odd[2] = np.nan, -np.inf, 0
    zero = np.zeros((3, 12))
    assert np.array_equal(mechanism.bound(odd), mechanism.bound(zero))
    assert np.array_equal(mechanism.release(odd, SeededEntropy(1)), mechanism.release(zero, SeededEntropy(1)))
    drawn = mechanism.release(zero, SeededEntropy(2))
    assert np.array_equal(mechanism.log_likelihood(drawn, odd), mechanism.log_likelihood(drawn, zero))


@pytest.mark.parametrize("of", KINDS)
@settings(deadline=None, max_examples=20)
@given(hnp.arrays(np.float64, (3, 12), elements=st.floats(width=64)))
def test_any_floats_are_bounded_as_each_block_does_it_and_released_finite(of: str, latent: np.ndarray) -> None:
    mechanism = made(of)
    bounded = mechanism.bound(latent)
    finite = np.where(np.isfinite(latent).all(axis=1, keepdims=True), latent, 0.0)
    for block, (start, stop) in zip(mechanism.blocks, EDGES, strict=True):
        if block.mechanism is not None:
            assert np.array_equal(bounded[:, start:stop], block.mechanism.bound(finite[:, start:stop]))
    assert np.isfinite(mechanism.randomise(bounded, SeededEntropy(1))).all()


@pytest.mark.parametrize(("of", "size"), [("laplace", 50), ("gaussian", 43)])
def test_no_grid_integer_is_too_large_for_a_float(of: str, size: int) -> None:
    """At the largest epsilon there is, a clip just above what `bound` says is refused by the sampler."""
    options = {"bound": "box", "clip": Fraction(2 ** (size + 1), 2**8), "grid_bits": 8}
    with pytest.raises(ValueError, match="block 1 of 1: scale must"):
        Blockwise.calibrate(Claim.of(9999, "1e-5" if of == "gaussian" else 0), 1, of=of, sizes=[1], **options)


# --- what is stated, and the way back ---


def test_the_guarantee_names_every_block_and_its_parameters() -> None:
    stated = made("laplace").guarantee(12)
    assert (stated.mechanism, stated.bound.kind, stated.bound.radius) == ("blockwise", "blocks", None)
    told = stated.parameters
    assert (told["of"], told["sizes"], told["shares"]) == ("laplace", "3 5 4", "3 1 0")
    assert told["block 1"].startswith("epsilon 3; bound box; clip 5/2; ")
    assert told["block 2"].startswith("epsilon 1; ")
    assert told["block 3"] == "drawn from N(0, I), whatever the record"
    with pytest.raises(ValueError, match="dimension must be 12"):
        made().guarantee(11)


def test_the_card_tells_of_blocks_and_of_what_is_in_them() -> None:
    text = " ".join(card_text(made("codebook").guarantee(12)).split())
    assert "public blocks of the latent" in text
    assert "a random word of a public code book" in text
    assert "each block has a bound of its own" in text


@pytest.mark.parametrize("count", [1, 2, 30])
def test_gaussian_blocks_compose_to_one_gaussian(count: int) -> None:
    claim = Claim.of("3", "1e-6")
    mechanism = Blockwise.calibrate(claim, 2 * count, of="gaussian", sizes=[2] * count)
    inner = [block.mechanism for block in mechanism.blocks]
    assert all(isinstance(one, Gaussian) for one in inner)
    square = sum(one.mu_squared for one in inner if isinstance(one, Gaussian))
    assert square <= mechanism.mu_squared <= square * (1 + Fraction(1, 2**250))
    (event,) = events_of(mechanism.guarantee(2 * count))
    assert isinstance(event, GaussianEvent)
    assert event.mu_squared == mechanism.mu_squared
    held = mechanism.guarantee(2 * count).with_release(
        releases=Releases(images=9, patients=3, largest_patient=3),
        conditions={},
        model_training=None,  # type: ignore[arg-type]
    )
    assert "worst patient" in card_text(held)


def test_each_block_is_brought_back_by_its_own_scale() -> None:
    mechanism = made("laplace", shares="3,1,0", decode="scale")
    released = mechanism.release(rows(1), SeededEntropy(1))
    brought = mechanism.to_prior(released)
    for block, (start, stop) in zip(mechanism.blocks[:2], EDGES[:2], strict=True):
        assert isinstance(block.mechanism, Laplace)
        scale = math.sqrt(1 + 2 * float(block.mechanism.scale) ** 2)
        assert np.allclose(brought[:, start:stop], released[:, start:stop] / scale)
    assert np.array_equal(brought[:, 8:], released[:, 8:])


# --- options ---


def test_shares_are_equal_unless_given() -> None:
    assert [block.share for block in made(shares=None).blocks] == [Fraction(4, 3)] * 3


def test_a_block_chooses_among_its_own_columns() -> None:
    mechanism = made("selection", shares="2,1,1", winners=3)
    released = mechanism.release(rows(1, 50), SeededEntropy(1))
    for start, stop in EDGES:
        assert {row.tobytes() for row in released[:, start:stop]} <= {row.tobytes() for row in LISTED[:, start:stop]}
    assert len({row.tobytes() for row in released} - {row.tobytes() for row in LISTED}) > 0
    assert mechanism.candidates is not None
    assert np.array_equal(mechanism.candidates, LISTED)


def test_candidates_are_needed_for_selection_alone() -> None:
    assert Blockwise.needs_candidates({"of": "selection"})
    assert not Blockwise.needs_candidates({"of": "codebook"})
    assert not Blockwise.needs_candidates({})
    assert {name for name in MECHANISMS if MECHANISMS[name].needs_candidates({})} == {"selection"}
    assert made().candidates is None


@pytest.mark.parametrize(
    ("of", "options", "message"),
    [
        ("directional", {"sizes": None}, "sizes must be the elements of each block, such as 4,12 for 16, got none"),
        ("directional", {"sizes": "3,5,5"}, "sizes must sum to the dimension 12"),
        ("directional", {"sizes": "0,8,4"}, "sizes must each be at least 1"),
        ("directional", {"shares": "3,2,0"}, "shares must sum to epsilon 4 exactly, got 5"),
        ("directional", {"shares": "0,0,0"}, "shares must sum to epsilon 4 exactly, got 0"),
        ("directional", {"shares": "5,-1,0"}, "shares must not be negative"),
        ("directional", {"delta": "1e-6"}, "block 1 of 3: delta must be 0 for directional"),
        ("gaussian", {"delta": 0}, "block 1 of 3: delta must be above 0 for gaussian"),
        ("laplace", {"clip": None, "radius": "2"}, "block 1 of 3: radius must be absent for a box"),
        ("codebook", {"clip": "3"}, "block 1 of 3: options must be blocks, words or winners, got clip"),
        ("codebook", {"candidates": LISTED}, "block 1 of 3: options must be .* got candidates"),
        ("selection", {"candidates": None}, "block 1 of 3: candidates must be a public"),
        ("selection", {"candidates": LISTED[:, :11]}, r"candidates must be \(N, 12\)"),
        ("selection", {"candidates": np.full((4, 12), np.nan)}, "candidates must be finite"),
    ],
)
def test_what_cannot_be_kept_is_refused(of: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(of, **options)


@pytest.mark.parametrize("of", ["blockwise", "randomised_response", "magic"])
def test_blocks_of_anything_else_are_refused(of: str) -> None:
    with pytest.raises(ValueError, match="of must be one of directional, laplace, gaussian, codebook, selection"):
        Blockwise.calibrate(Claim.of("1"), 4, of=of, sizes="2,2")


def test_a_claim_for_an_element_is_refused() -> None:
    with pytest.raises(ValueError, match="unit must be image for blockwise, got element"):
        Blockwise.calibrate(Claim.of("1", unit="element"), 4, of="laplace", sizes="2,2")


def test_rows_of_another_dimension_are_refused() -> None:
    entropy: Entropy = SeededEntropy(1)
    for call in (made().bound, made().to_prior, lambda x: made().randomise(x, entropy)):
        with pytest.raises(ValueError, match=r"latent must be \(n, 12\)"):
            call(np.zeros((2, 11)))


@pytest.mark.parametrize(("of", "epsilon", "delta"), [("laplace", "9999", "0"), ("gaussian", "999999999", "1/2")])
def test_the_largest_grid_integers_are_exact_as_floats(of: str, epsilon: str, delta: str) -> None:
    """The widest boxes that can be calibrated: below 2^49 grid units for Laplace, below 2^50.5 for Gaussian noise."""
    largest = {"laplace": 2**49, "gaussian": math.isqrt(2**101)}[of]
    options: dict[str, Any] = {"of": of, "sizes": "2", "bound": "box"}
    with pytest.raises(ValueError, match="scale must"):
        Blockwise.calibrate(Claim.of(epsilon, delta), 2, clip=Fraction(largest, 2**8), **options)
    clip = Fraction(largest // 8 - 1, 2**8)
    mechanism = Blockwise.calibrate(Claim.of(epsilon, delta), 2, clip=clip, **options)
    (block,) = mechanism.blocks
    assert block.mechanism is not None
    bounded = mechanism.bound(np.array([[1e300, -1e300]]))
    assert np.array_equal(bounded.astype(np.int64), block.mechanism.bound(np.array([[1e300, -1e300]])))
    assert np.abs(bounded).max() == largest // 8 - 1

"""Randomised response on whole rows: the claim by enumeration and by audit, and rows that the schema allows."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from veilray.methods.tables import ResponseRecords
from veilray.privacy.entropy import SeededEntropy, SystemEntropy
from veilray.privacy.mechanisms.base import Claim
from veilray.privacy.mechanisms.randomised_response import RandomisedResponse, estimate_frequencies, transition_matrix
from veilray.tables import Column, Records, Schema

BUDGETS = ("split", "filled", "sampled")

TINY = Schema(
    columns=(
        Column(name="ill", kind="categorical", levels=("no", "yes")),
        Column(name="grade", kind="ordinal", levels=("low", "middle", "high")),
        Column(name="children", kind="integer", low=0, high=1, missing=True),
    )
)
EVERY = Records.of(TINY, list(itertools.product((0, 1), (0, 1, 2), (0, 1, np.nan))))
PUBLIC = Records.of(TINY, [[0, 0, 0], [0, 1, 1], [0, 2, 0], [1, 2, np.nan], [0, 1, 0]])

WIDE = Schema(
    columns=(
        Column(name="age", kind="integer", low=0, high=120),
        Column(name="bmi", kind="continuous", low=5, high=100, decimals=1, missing=True),
        Column(name="visit", kind="date", low="2001-01-01", high="2003-12-31"),
        Column(name="sex", kind="categorical", levels=("f", "m", "other")),
        Column(name="income", kind="categorical", levels=("low", "high")),
    )
)


def wide(count: int, seed: int) -> Records:
    rng = np.random.default_rng(seed)
    low, high = np.array([column.span for column in WIDE.columns]).T
    values = rng.uniform(low, high, (count, len(low)))
    values[rng.random(count) < 0.2, 1] = np.nan
    return Records.of(WIDE, values).snapped()


def law(method: ResponseRecords, true: Records, epsilon: str, budget: str, public: tuple[str, ...] = ()) -> np.ndarray:
    """log Pr[row of EVERY | the one true row], over all rows of the tiny schema."""
    repeated = true[np.zeros(len(EVERY), dtype=np.int64)]
    return method.log_likelihood(EVERY, repeated, epsilon, budget=budget, public=public)


@pytest.mark.parametrize("epsilon", ["0.3", "2", "6"])
@pytest.mark.parametrize("budget", BUDGETS)
def test_no_two_rows_are_told_apart_by_more_than_epsilon(budget: str, epsilon: str) -> None:
    method = ResponseRecords.fit(PUBLIC)
    laws = np.stack([law(method, EVERY[[place]], epsilon, budget) for place in range(len(EVERY))])
    assert (laws.max(axis=0) - laws.min(axis=0)).max() <= float(epsilon) + 1e-9


@pytest.mark.parametrize("budget", ["split", "sampled"])
def test_the_law_adds_up_to_one(budget: str) -> None:
    method = ResponseRecords.fit(PUBLIC)
    assert np.exp(law(method, EVERY[[5]], "2", budget)).sum() == pytest.approx(1)


def test_sampling_a_column_amplifies_nothing_for_whole_rows() -> None:
    method = ResponseRecords.fit(PUBLIC)
    row, opposite = Records.of(TINY, [[0, 0, 0]]), Records.of(TINY, [[1, 1, 1]])
    told = [method.log_likelihood(row, true, "3", budget="sampled")[0] for true in (row, opposite)]
    assert told[0] - told[1] == pytest.approx(3, abs=1e-9)


@pytest.mark.parametrize("budget", ["split", "sampled"])
def test_the_law_is_that_of_the_release(budget: str) -> None:
    method, true = ResponseRecords.fit(PUBLIC), Records.of(TINY, [[1, 2, np.nan]])
    rows = true[np.zeros(40_000, dtype=np.int64)]
    released = method.release(rows, "2", SeededEntropy(3), budget=budget)
    placed = method.cells.encode(released) @ [9, 3, 1]
    found = np.bincount(placed, minlength=18) / len(rows)
    expected = np.exp(law(method, true, "2", budget))
    assert np.abs(found - expected).max() < 5 * np.sqrt(expected.max() / len(rows))


def audited(method: ResponseRecords, epsilon: str, budget: str) -> float:
    """A lower bound of epsilon, wrong once in a million: how much likelier a row is released as it is."""
    runs = 40_000
    first, second = Records.of(TINY, [[0, 0, 0]]), Records.of(TINY, [[1, 1, 1]])
    hits = []
    for seed, true in enumerate((first, second)):
        released = method.release(true[np.zeros(runs, dtype=np.int64)], epsilon, SeededEntropy(seed), budget=budget)
        hits.append(int((method.cells.encode(released) == 0).all(axis=1).sum()))
    surely = beta.ppf(5e-7, hits[0], runs - hits[0] + 1)
    at_most = beta.ppf(1 - 5e-7, hits[1] + 1, runs - hits[1])
    return math.log(surely / at_most)


@pytest.mark.parametrize("budget", BUDGETS)
def test_the_audit_stays_within_the_claim(budget: str) -> None:
    assert audited(ResponseRecords.fit(PUBLIC), "1.5", budget) <= 1.5


def test_the_audit_finds_an_epsilon_counted_for_each_column(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = RandomisedResponse.calibrate

    def careless(claim: Claim, dimension: int, **options: object) -> RandomisedResponse:
        return sound(Claim(claim.epsilon, unit="element"), dimension, **options)

    monkeypatch.setattr(RandomisedResponse, "calibrate", staticmethod(careless))
    assert audited(ResponseRecords.fit(PUBLIC), "1.5", "split") > 1.5


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(BUDGETS), st.integers(2, 12), st.sampled_from(["0.01", "4", "40"]))
def test_every_released_row_is_valid(seed: int, budget: str, bins: int, epsilon: str) -> None:
    method = ResponseRecords.fit(wide(50, seed), bins=bins)
    private = wide(20, seed + 1)
    private.values[0] = [np.nan, np.inf, -1e9, 7, np.nan]  # a row that the schema does not allow is released too
    released = method.release(private, epsilon, SeededEntropy(seed), budget=budget, public=("income",))
    np.testing.assert_array_equal(released.values, released.snapped().values)
    np.testing.assert_array_equal(released.column("income"), private.snapped().column("income"))


def test_a_large_epsilon_keeps_the_cells() -> None:
    private, method = wide(200, 1), ResponseRecords.fit(wide(500, 2))
    released = method.release(private, "400", SystemEntropy())
    np.testing.assert_array_equal(method.cells.encode(released), method.cells.encode(private))


def test_filled_shares_add_up_and_leave_weak_columns_out() -> None:
    shares = ResponseRecords.fit(wide(500, 2)).shares("2", budget="filled")
    assert sum(shares.values()) == 2
    assert len(shares) < len(WIDE.columns)


def test_filled_shares_tell_most() -> None:
    method, total = ResponseRecords.fit(PUBLIC), Fraction(3)

    def told(parts: dict[str, Fraction]) -> float:
        nats = 0.0
        for name, part in parts.items():
            shares = method.cells.frequencies[TINY.index(name)]
            if part:
                matrix = transition_matrix(len(shares), part)
                nats += float((shares[:, None] * matrix * np.log(matrix / (shares @ matrix))).sum())
        return nats

    grid = [total * step / 24 for step in range(25)]
    others = [dict(zip(TINY.names, (a, b, total - a - b), strict=True)) for a in grid for b in grid if a + b <= total]
    assert told(method.shares(total, budget="filled")) == pytest.approx(max(map(told, others)), abs=1e-9)


@pytest.mark.parametrize("budget", BUDGETS)
def test_the_guarantee_is_for_the_whole_row(budget: str) -> None:
    claim = ResponseRecords.fit(wide(100, 1)).guarantee("2", budget=budget, public=("income",))
    assert (claim.unit, claim.record, claim.epsilon, claim.total_image_epsilon) == ("image", "row", 2, 2)
    assert claim.conditions["income"].policy == "public"
    assert "income" not in claim.parameters["columns"]


def test_a_common_value_is_a_cell_of_its_own() -> None:
    schema = Schema(columns=(Column(name="gain", kind="integer", low=0, high=99_999),))
    public = Records.of(schema, np.concatenate([np.zeros(90), np.arange(1000, 11_000, 1000)])[:, None])
    shares = ResponseRecords.fit(public, bins=4).cells.frequencies[0]
    assert len(shares) == 4
    assert shares[0] == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"budget": "both"}, "budget must be split, filled or sampled"),
        ({"public": TINY.names}, "public must leave a column"),
        ({"public": ("name",)}, "column must be one of"),
    ],
)
def test_a_wrong_wish_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ResponseRecords.fit(PUBLIC).release(PUBLIC, "1", SeededEntropy(1), **options)


def test_records_of_another_schema_are_refused() -> None:
    with pytest.raises(ValueError, match="schema"):
        ResponseRecords.fit(PUBLIC).release(wide(3, 1), "1", SeededEntropy(1))


@pytest.mark.parametrize(("levels", "epsilon"), [(2, "0.5"), (5, "2"), (41, "4")])
def test_one_column_is_the_direct_encoding_of_pure_ldp(levels: int, epsilon: str) -> None:
    peer = pytest.importorskip("pure_ldp.frequency_oracles.direct_encoding", reason="pip install 'veilray[yardsticks]'")
    schema = Schema(
        columns=(Column(name="country", kind="categorical", levels=tuple(f"c{place}" for place in range(levels))),)
    )
    public = Records.of(schema, np.arange(levels)[:, None])
    method = ResponseRecords.fit(public)
    client, server = peer.DEClient(float(epsilon), levels), peer.DEServer(float(epsilon), levels, lambda item: item)
    told = np.exp(method.log_likelihood(public, public[np.zeros(levels, dtype=np.int64)], epsilon))
    np.testing.assert_allclose(told, [client.p] + [client.q] * (levels - 1), rtol=1e-9)

    rng = np.random.default_rng(1)
    private = Records.of(schema, rng.choice(levels, 5000, p=rng.dirichlet(np.ones(levels)))[:, None])
    released = method.release(private, epsilon, SeededEntropy(1)).column("country").astype(np.int64)
    for report in released:
        server.aggregate(report)
    theirs = [server.estimate(item, suppress_warnings=True) / len(released) for item in range(levels)]
    counts = np.bincount(released, minlength=levels)
    np.testing.assert_allclose(estimate_frequencies(counts, epsilon), theirs, atol=1e-9)

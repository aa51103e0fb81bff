"""Randomised response for whole rows of a table: the field's own local mechanism, the baseline of every table.

Every column is brought to public cells (`cells.py`) and randomised by k-ary randomised response. Three ways to spend
one epsilon on a row:

* `split`: every column is randomised, each with an equal share of epsilon.
* `filled`: shares are chosen on public data so that the columns tell as much as they can, each by itself: the sum of
  the mutual informations between a column and its report is greatest, by a knapsack over 24ths of epsilon. The first
  bit of epsilon tells almost nothing, so most columns get none; those are drawn from the public frequencies.
* `sampled`: one column is drawn uniformly, without looking at the record, and gets the whole epsilon; the others are
  drawn from the public frequencies (Nguyên, Xiao, Yang et al. 2016; Wang, Blocki, Li and Jha 2017 sample alike).

**Claim.** Each row is epsilon-private as a whole: for every two rows that agree on the columns left public, and every
set of outputs, the probabilities differ by a factor of at most e^epsilon.

**Proof, `split` and `filled`.** Columns are drawn apart, the ratio of a product is the product of the ratios, and the
shares add up to epsilon. A column without a share does not depend on the record.

**Proof, `sampled`.** Write c for the number of covered columns, m_i for the public frequencies of column i, and R for
randomised response with epsilon. The column j is drawn independently of the record x, so the output y has probability

    Pr[y | x] = (1/c) sum_j R_j(y_j | x_j) prod_{i != j} m_i(y_i).

R_j(y_j | x_j) <= e^epsilon R_j(y_j | x'_j) term by term, whatever the column, hence the sums keep the same factor. It
also holds for a reader who is told j.

**Sampling amplifies nothing here.** The factor (1/c)(e^epsilon - 1) + 1 that is quoted for it belongs to rows that
differ in *one* column. Take rows that differ in every column and the output y = x: each term of the sum has ratio
exactly e^epsilon, so has the sum. The whole-row claim is therefore epsilon, not less.

Inside a released cell a value is drawn from the public distribution, and every value is one that the schema allows:
post-processing. Columns left public are released as they are and stand outside the claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from veilray.methods.tables.cells import Cells, Floats, Integers
from veilray.privacy.entropy import Entropy
from veilray.privacy.exact import ExactLike, exact
from veilray.privacy.guarantee import ConditionPolicy, Guarantee
from veilray.privacy.mechanisms.base import Claim
from veilray.privacy.mechanisms.randomised_response import RandomisedResponse, transition_matrix
from veilray.privacy.samplers.index import indices
from veilray.tables import Records

__all__ = ["Budget", "ResponseRecords"]

Budget = Literal["split", "filled", "sampled"]

_STEPS = 24
"""Parts of epsilon that `filled` deals out."""


@dataclass(frozen=True)
class ResponseRecords:
    """k-ary randomised response on rows of one schema.

    Attributes:
        cells: the public cells of each column.

    Example:
        >>> from veilray.privacy.entropy import SeededEntropy
        >>> from veilray.tables import Column, Schema
        >>> schema = Schema(columns=[Column(name="age", kind="integer", low=0, high=120),
        ...                          Column(name="ill", kind="categorical", levels=("no", "yes"))])
        >>> public = Records.of(schema, [[30, 0], [40, 1], [50, 0], [60, 1]])
        >>> method = ResponseRecords.fit(public, bins=2)
        >>> released = method.release(public, "2", SeededEntropy(1), public=("ill",))
        >>> released.texts("ill")
        ['no', 'yes', 'no', 'yes']
    """

    cells: Cells

    @classmethod
    def fit(cls, public: Records, *, bins: int = 8) -> ResponseRecords:
        """Cut the columns at edges of `public`, records of people who are not released; at most `bins` cells each."""
        return cls(Cells.fit(public, bins))

    def release(
        self,
        records: Records,
        epsilon: ExactLike,
        entropy: Entropy,
        *,
        budget: Budget = "split",
        public: Sequence[str] = (),
    ) -> Records:
        """One randomised row for each row, in the same order, valid under the schema, without patients.

        Args:
            records: the private rows, of the schema that was fitted.
            epsilon: exact, for each whole row.
            entropy: the operating system's for a release.
            budget: how epsilon is spent on the columns of a row.
            public: names of columns that are released as they are and are not covered.

        Raises:
            ValueError: for another schema, an unknown column or budget, or public columns that leave none to cover.
        """
        covered, mechanism = self._mechanism(epsilon, budget, public)
        placed = self.cells.encode(records)
        released = self.cells.draw(_uniforms(placed.shape, entropy))
        reported = mechanism.release(placed[:, covered].astype(np.float64), entropy).astype(np.int64)
        if budget == "sampled":
            chosen = indices(entropy.words(len(placed), np.uint64), len(covered))
            told = np.arange(len(covered)) == chosen[:, None]
            reported = np.where(told, reported, released[:, covered])
        released[:, covered] = reported
        values = self.cells.decode(released, _uniforms(placed.shape, entropy)).values
        for name in public:
            values[:, records.schema.index(name)] = records.schema.column(name).snap(records.column(name))
        return Records.of(records.schema, values)

    def guarantee(self, epsilon: ExactLike, *, budget: Budget = "split", public: Sequence[str] = ()) -> Guarantee:
        """The claim for one row: unit `image` stands for the whole row."""
        covered, mechanism = self._mechanism(epsilon, budget, public)
        claim = mechanism.guarantee(len(covered))
        whole = exact(epsilon, "epsilon")
        return replace(
            claim,
            unit="image",
            record="row",
            epsilon=whole,
            image_epsilon=whole,
            element_epsilon=None if budget == "sampled" else claim.element_epsilon,
            conditions={name: ConditionPolicy(policy="public") for name in public},
            parameters={
                "budget": budget,
                "columns": ", ".join(self.cells.schema.names[place] for place in covered),
                **claim.parameters,
            },
        )

    def shares(
        self, epsilon: ExactLike, *, budget: Budget = "split", public: Sequence[str] = ()
    ) -> dict[str, Fraction]:
        """The epsilon that each reported column is randomised with; for `sampled` the whole one for each."""
        covered, mechanism = self._mechanism(epsilon, budget, public)
        parts = (response.epsilon for response in mechanism.responses)
        return {self.cells.schema.names[place]: part for place, part in zip(covered, parts, strict=True)}

    def log_likelihood(
        self,
        released: Records,
        records: Records,
        epsilon: ExactLike,
        *,
        budget: Budget = "split",
        public: Sequence[str] = (),
    ) -> Floats:
        """log Pr[cells of a released row | record], `(n,)` nats, row by row, for the strongest attacker.

        Columns left public, and where in its cell a value lies, depend on no covered column and are left out. So are
        columns that are drawn from the public frequencies in every release.
        """
        covered, mechanism = self._mechanism(epsilon, budget, public)
        reported, true = self.cells.encode(released)[:, covered], self.cells.encode(records)[:, covered]
        told = np.stack(
            [
                np.log(transition_matrix(self.cells.sizes[place], response.epsilon))[true[:, at], reported[:, at]]
                for at, (place, response) in enumerate(zip(covered, mechanism.responses, strict=True))
            ],
            axis=1,
        )
        if budget != "sampled":
            return np.asarray(told.sum(axis=1))
        blind = np.stack(
            [np.log(self.cells.frequencies[place])[reported[:, at]] for at, place in enumerate(covered)], axis=1
        )
        each = told + blind.sum(axis=1, keepdims=True) - blind
        return np.asarray(logsumexp(each, axis=1) - np.log(len(covered)))

    def _mechanism(
        self, epsilon: ExactLike, budget: Budget, public: Sequence[str]
    ) -> tuple[list[int], RandomisedResponse]:
        """The places of the columns that are reported, and what randomises their cells."""
        schema = self.cells.schema
        clear = {schema.index(name) for name in public}
        # A column of one cell is the same in every row: nothing to report.
        able = [place for place, size in enumerate(self.cells.sizes) if place not in clear and size > 1]
        if not able:
            raise ValueError("public must leave a column with two or more cells to cover, got none left")
        whole = Claim.of(epsilon)
        sizes = [self.cells.sizes[place] for place in able]
        if budget == "sampled":
            each = Claim(whole.epsilon, unit="element")  # only one of the cells is released
            return able, RandomisedResponse.calibrate(each, len(able), levels=sizes)
        if budget == "split":
            return able, RandomisedResponse.calibrate(whole, len(able), levels=sizes)
        if budget != "filled":
            raise ValueError(f"budget must be split, filled or sampled, got {budget!r}")
        parts = _informative_shares([self.cells.frequencies[place] for place in able], whole.epsilon)
        kept = [at for at, part in enumerate(parts) if part > 0]
        options = {"levels": [sizes[at] for at in kept], "shares": [parts[at] for at in kept]}
        return [able[at] for at in kept], RandomisedResponse.calibrate(whole, len(kept), **options)


def _uniforms(shape: tuple[int, ...], entropy: Entropy) -> Floats:
    """Multiples of 2^-53 in [0, 1)."""
    return np.asarray((entropy.words(shape, np.uint64) >> np.uint64(11)) * 2.0**-53)


def _informative_shares(frequencies: Sequence[Floats], epsilon: Fraction) -> list[Fraction]:
    """Multiples of epsilon / 24, adding up to epsilon, for which the columns' mutual informations add up to most."""
    steps = [epsilon * step / _STEPS for step in range(_STEPS + 1)]
    best = np.full(_STEPS + 1, -np.inf)  # over the columns so far, for each number of steps spent
    best[0] = 0.0
    taken: list[Integers] = []
    for shares in frequencies:
        gain = np.array([_mutual_information(shares, step) for step in steps])
        spent = np.arange(_STEPS + 1)
        before = spent[:, None] - spent[None, :]  # [after, taken]
        total = np.where(before >= 0, best[np.maximum(before, 0)], -np.inf) + gain
        taken.append(np.argmax(total, axis=1))
        best = total.max(axis=1)
    parts: list[Fraction] = []
    left = _STEPS
    for choice in reversed(taken):
        parts.append(steps[int(choice[left])])
        left -= int(choice[left])
    return parts[::-1]


def _mutual_information(shares: Floats, epsilon: Fraction) -> float:
    """Nats between a category of these frequencies and its randomised response."""
    if epsilon == 0:
        return 0.0
    matrix = transition_matrix(len(shares), epsilon)
    return _entropy(shares @ matrix) - _entropy(matrix[0])


def _entropy(law: NDArray[np.float64]) -> float:
    return float(-(law[law > 0] * np.log(law[law > 0])).sum())

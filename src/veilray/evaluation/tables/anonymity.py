"""Three attacks on a released table, by anonymeter: singling out, linkability, inference.

Each attack is made twice with what the released rows told: on the private rows, and on *control* rows of other people,
who cannot be in the release. What works on both is knowledge about the population; the risk is what works on the
private rows beyond that, as a share of what was left to win:

    risk = (success - control) / (1 - control),  at least 0.

A blind attacker, who guesses at random, is the baseline: an attack that does not beat it measured nothing.

Source: Giomi, Boenisch, Wehmeyer and Tasnádi 2023, "A unified framework for quantifying privacy risk in synthetic
data", PoPETs 2023(2); rates are Wilson's (1927). These are attacks, not proofs: a low risk bounds nothing.

Targets are drawn with the seed. anonymeter draws its baseline, and the order in which it tries the queries of one
column, by itself: those figures move a little from run to run.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from veilray.evaluation.tables.frames import numbers_and_texts, yardstick
from veilray.tables import Records

__all__ = ["AnonymityRisk", "anonymity_risks", "inference", "linkability", "singling_out"]

ATTACKS = 500
"""Targets, or queries, of one attack."""
_TRIES_PER_QUERY = 40
"""Random queries that are tried, at most, for each that singles out a released row."""


@dataclass(frozen=True)
class AnonymityRisk:
    """What one attack won.

    Attributes:
        attack: its name.
        risk, low, high: success beyond the control, as a share of what was left to win, with its 95 % interval.
        success: rate on the private rows.
        control: rate of the same attack on people who are not in the release.
        baseline: rate of a blind attacker.
        attacks: how many were made. Where the release allowed none, the risk is 0 and its interval all of [0, 1].
    """

    attack: str
    risk: float
    low: float
    high: float
    success: float
    control: float
    baseline: float
    attacks: int

    @property
    def beats_blind(self) -> bool:
        """Whether the attack did better than guessing; one that did not measured nothing."""
        return self.success > self.baseline

    def __str__(self) -> str:
        return f"{self.attack}: {self.risk:.3f} ({self.low:.3f} to {self.high:.3f}), control {self.control:.3f}"


def singling_out(
    private: Records, released: Records, control: Records, *, columns: int = 3, attacks: int = ATTACKS, seed: int = 0
) -> AnonymityRisk:
    """Can a question about `columns` columns, true of one released row, be true of exactly one private row?

    Rows that stand twice count once, and private and control rows are cut to the same number: how often a question
    fits exactly one row depends on how many there are.

    Args:
        private: the rows that were released.
        released: what became of them; of any number.
        control: rows of other people from the same population.
        columns: 1 asks for extreme and for unique values; more asks for combinations.

    Raises:
        ValueError: for different schemas or no rows.
        ImportError: without anonymeter.
    """
    _check(private, released, control)
    module = yardstick("anonymeter.evaluators.singling_out_evaluator")
    polars = yardstick("polars")
    rng = np.random.default_rng(seed)
    targets, others = (_shuffled(records, rng).drop_duplicates() for records in (private, control))
    rows = min(len(targets), len(others))
    told = numbers_and_texts(released, missing_below=True)
    seen = polars.DataFrame(told).unique(maintain_order=True)
    draws, tries = np.random.default_rng(seed), _TRIES_PER_QUERY * attacks
    if columns == 1:
        found = module.univariate_singling_out_queries(seen, attacks, draws)
    else:
        found = module.multivariate_singling_out_queries(seen, attacks, columns, tries, draws)
    name = "singling out, one column" if columns == 1 else f"singling out, {columns} columns"
    if not found:
        return AnonymityRisk(name, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0)
    # Rates are shares of the questions that could be asked, not of those that were asked for.
    evaluator = module.SinglingOutEvaluator(
        targets[:rows], told, len(found), columns, others[:rows], max_attempts=tries, seed=seed
    )
    mode = "univariate" if columns == 1 else "multivariate"
    return _measured(name, len(found), lambda: evaluator.evaluate(mode=mode))


def linkability(
    private: Records,
    released: Records,
    control: Records,
    *,
    known: tuple[Sequence[str], Sequence[str]] | None = None,
    neighbours: int = 1,
    attacks: int = ATTACKS,
    seed: int = 0,
) -> AnonymityRisk:
    """Can two halves of a person's row, known to two people, be joined through the released row nearest to both?

    Args:
        known: names of the columns that each of the two knows; by default the first half and the second half.
        neighbours: nearest released rows that are compared.

    Raises:
        ValueError: for different schemas, no rows, or fewer than two columns.
        ImportError: without anonymeter.
    """
    _check(private, released, control)
    names = private.schema.names
    first, second = known if known is not None else (names[: len(names) // 2], names[len(names) // 2 :])
    if not first or not second:
        raise ValueError("known must be two lists of columns, got an empty one")
    targets, others = _targets(private, control, attacks, seed)
    evaluator = yardstick("anonymeter.evaluators").LinkabilityEvaluator(
        targets,
        numbers_and_texts(released, missing_below=True),
        (list(first), list(second)),
        len(targets),
        neighbours,
        others,
    )
    return _measured("linkability", len(targets), lambda: evaluator.evaluate(n_jobs=1))


def inference(
    private: Records,
    released: Records,
    control: Records,
    *,
    secret: str,
    known: Sequence[str] | None = None,
    attacks: int = ATTACKS,
    seed: int = 0,
) -> AnonymityRisk:
    """Can a column of a person's row be read from the released row that is nearest in the others?

    A number is read where the guess is within 5 % of it, a level where it is right.

    Args:
        secret: the column to be read.
        known: names of the columns that the attacker has; by default all others.

    Raises:
        ValueError: for different schemas, no rows, an unknown column, or no known one.
        ImportError: without anonymeter.
    """
    _check(private, released, control)
    column = private.schema.column(secret)
    aux = [name for name in private.schema.names if name != secret] if known is None else list(known)
    if not aux or secret in aux:
        raise ValueError(f"known must be one or more columns without {secret!r}, got {', '.join(aux) or 'none'}")
    targets, others = _targets(private, control, attacks, seed)
    evaluator = yardstick("anonymeter.evaluators").InferenceEvaluator(
        targets,
        numbers_and_texts(released, missing_below=True),
        aux,
        secret,
        regression=column.levels is None,
        n_attacks=len(targets),
        control=others,
    )
    return _measured(f"inference of {secret}", len(targets), lambda: evaluator.evaluate(n_jobs=1))


def anonymity_risks(
    private: Records, released: Records, control: Records, *, secret: str, attacks: int = ATTACKS, seed: int = 0
) -> tuple[AnonymityRisk, ...]:
    """All attacks with what they take by default: singling out by one column and by three, linkability, inference."""
    several = min(3, len(private.schema.columns))
    return (
        singling_out(private, released, control, columns=1, attacks=attacks, seed=seed),
        singling_out(private, released, control, columns=several, attacks=attacks, seed=seed),
        linkability(private, released, control, attacks=attacks, seed=seed),
        inference(private, released, control, secret=secret, attacks=attacks, seed=seed),
    )


def _check(private: Records, released: Records, control: Records) -> None:
    for name, records in (("private", private), ("released", released), ("control", control)):
        if records.schema.columns != private.schema.columns:
            raise ValueError(f"{name} must have the columns of the private rows, got others")
        if not len(records):
            raise ValueError(f"{name} must hold at least one row, got none")


def _shuffled(records: Records, rng: np.random.Generator) -> Any:
    return numbers_and_texts(records[rng.permutation(len(records))], missing_below=True)


def _targets(private: Records, control: Records, attacks: int, seed: int) -> tuple[Any, Any]:
    """As many private rows as control rows, drawn with the seed."""
    rng = np.random.default_rng(seed)
    count = min(attacks, len(private), len(control))
    return _shuffled(private, rng)[:count], _shuffled(control, rng)[:count]


def _measured(name: str, attacks: int, evaluate: Callable[[], Any]) -> AnonymityRisk:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "as good or worse as baseline": `beats_blind` says so
        evaluated = evaluate()
        results = evaluated.results()
        risk = results.risk()
    low, high = risk.ci
    return AnonymityRisk(
        attack=name,
        risk=float(risk.value),
        low=float(low),
        high=float(high),
        success=float(results.attack_rate.value),
        control=float(results.control_rate.value),
        baseline=float(results.baseline_rate.value),
        attacks=attacks,
    )

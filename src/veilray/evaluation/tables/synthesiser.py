"""What one trusted curator could do with the same epsilon: a synthesiser under *central* differential privacy.

The maximum-spanning-tree mechanism, MST (McKenna, Miklau and Sheldon 2021, winner of the 2018 NIST challenge): the
two-way tables along a tree of columns are counted over all private rows at once, given Gaussian noise, and a graphical
model that agrees with them is sampled (Private-PGM, the package mbi). Here the tree is the Chow-Liu tree (1968) of
*public* records, so that all of epsilon goes into the tables; published MST spends a part on finding the tree. With a
target, the tree joins the other columns given the target, and every table holds the target too (tree-augmented naive
Bayes, Friedman, Geiger and Goldszmidt 1997): a release that is to tell one column is then measured on its own ground.

**Claim**, for the whole private table: replacing one row changes one count down and one up in each of the tables, the
Euclidean distance is sqrt(2 x tables), and OpenDP's discrete Gaussian of that scale keeps rho of zero-concentrated
differential privacy, brought to (epsilon, delta) by dp-accounting. The number of rows is public. Cells, levels and
bounds come from the schema and from public records.

It is no rival of a local release: the curator sees every row, one epsilon covers the whole table, and no released row
belongs to anybody. It is the line that shows what trust in a curator would buy. Noise and sampling are not seeded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from dp_accounting.rdp import compute_epsilon
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.sparse.csgraph import minimum_spanning_tree

from veilray.evaluation.tables.frames import yardstick
from veilray.methods.tables.cells import Cells
from veilray.tables import Records

__all__ = ["Synthesis", "synthesise"]

DELTA = 1e-6
_ORDERS = tuple(np.concatenate([np.linspace(1.05, 20, 380), np.geomspace(20.5, 2000, 200)]).tolist())


@dataclass(frozen=True)
class Synthesis:
    """Synthetic rows and what they cost.

    Attributes:
        records: valid under the schema.
        epsilon, delta: for replacing one row of the private table.
        rho: the same in zero-concentrated differential privacy.
        tables: the columns of each table that was counted.
    """

    records: Records = field(repr=False)
    epsilon: float
    delta: float
    rho: float
    tables: tuple[tuple[str, ...], ...]


def synthesise(
    private: Records,
    public: Records,
    epsilon: float,
    *,
    delta: float = DELTA,
    target: str | None = None,
    bins: int = 16,
    rows: int | None = None,
    iterations: int = 1000,
    seed: int = 0,
) -> Synthesis:
    """Fit the tree's tables on `private` under (epsilon, delta), and sample rows.

    Args:
        private: the rows that the claim covers.
        public: records of other people: they give edges, tree, and the values inside cells.
        target: a column that the rows are to tell; every table then holds it.
        bins: the most cells of a column of numbers or days.
        rows: to be sampled; by default as many as are private.
        iterations: of mirror descent.
        seed: of the values inside cells alone.

    Raises:
        ValueError: for different schemas, fewer than two columns beside the target, an unknown target, or an epsilon or
            delta out of range.
        ImportError: without mbi or OpenDP.
    """
    if not (epsilon > 0 and 0 < delta < 1):
        raise ValueError(f"epsilon must be above 0 and delta in (0, 1), got {epsilon} and {delta}")
    given = None if target is None else private.schema.index(target)
    if len(private.schema.columns) - (given is not None) < 2:
        raise ValueError("private must have two columns or more beside the target, got one")
    cells = Cells.fit(public, bins)
    tables = _tree(cells.encode(public), cells.sizes, given)
    rho = _rho(epsilon, delta)
    placed = _sampled(cells.encode(private), cells.sizes, tables, rho, rows or len(private), iterations)
    records = cells.decode(placed, np.random.default_rng(seed).random(placed.shape))
    names = private.schema.names
    return Synthesis(records, epsilon, delta, rho, tuple(tuple(names[place] for place in table) for table in tables))


def _sampled(
    placed: NDArray[np.int64],
    sizes: tuple[int, ...],
    tables: list[tuple[int, ...]],
    rho: float,
    rows: int,
    iterations: int,
) -> NDArray[np.int64]:
    """`(rows, columns)` cells from the graphical model that fits the noisy tables."""
    mbi, estimation = yardstick("mbi"), yardstick("mbi.estimation")
    counts = [_table(placed, table, sizes).ravel() for table in tables]
    distance = math.sqrt(2 * len(tables))
    scale = distance / math.sqrt(2 * rho) * (1 + 1e-9)
    noisy = _gaussian(np.concatenate(counts), distance, scale, rho)
    parts = np.split(noisy, np.cumsum([len(count) for count in counts])[:-1])
    names = [str(place) for place in range(len(sizes))]
    domain = mbi.Domain.fromdict(dict(zip(names, sizes, strict=True)))
    measured = [
        mbi.LinearMeasurement(part, tuple(names[place] for place in table), scale)
        for part, table in zip(parts, tables, strict=True)
    ]
    model = estimation.mirror_descent(domain, measured, known_total=float(len(placed)), iters=iterations)
    # mbi 1.1's other method, "round", sorts each column within its parents' cells by row: children of one parent, which
    # are independent given it, then rise together.
    drawn = model.synthetic_data(rows, method="sample").df
    return np.asarray(drawn[names].to_numpy(), dtype=np.int64)


def _gaussian(counts: NDArray[np.int64], distance: float, scale: float, rho: float) -> NDArray[np.float64]:
    """Counts with discrete Gaussian noise, after OpenDP has confirmed what that costs."""
    dp: Any = yardstick("opendp.prelude")
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64")
    noise = dp.m.make_gaussian(*space, scale)
    if noise.map(distance) > rho:
        raise ArithmeticError(f"noise must cost at most rho {rho}, got {noise.map(distance)}")
    return np.array(noise(counts.tolist()), dtype=np.float64)


def _table(placed: NDArray[np.int64], columns: tuple[int, ...], sizes: tuple[int, ...]) -> NDArray[np.int64]:
    shape = tuple(sizes[place] for place in columns)
    flat = np.ravel_multi_index(tuple(placed[:, place] for place in columns), shape)
    return np.bincount(flat, minlength=math.prod(shape)).reshape(shape)


def _tree(placed: NDArray[np.int64], sizes: tuple[int, ...], given: int | None) -> list[tuple[int, ...]]:
    """The tree of pairs whose mutual informations, given a column if there is one, add up to most; with that column."""
    columns = [place for place in range(len(sizes)) if place != given]
    beside = () if given is None else (given,)
    nats = np.zeros((len(columns), len(columns)))
    for row, first in enumerate(columns):
        for at, second in enumerate(columns[row + 1 :], row + 1):
            joint = _table(placed, (first, second, *beside), sizes) / len(placed)
            joint = joint.reshape(*joint.shape[:2], -1)
            apart = joint.sum(axis=0) * joint.sum(axis=1, keepdims=True) / np.maximum(joint.sum(axis=(0, 1)), 1e-300)
            there = joint > 0
            nats[row, at] = (joint[there] * np.log(joint[there] / apart[there])).sum()
    # The least tree of costs that are all above 0, for an entry of 0 would be no edge.
    costs = np.triu(nats.max() + 1 - nats, 1)
    edges = zip(*minimum_spanning_tree(costs).nonzero(), strict=True)
    return [(columns[first], columns[second], *beside) for first, second in edges]


def _rho(epsilon: float, delta: float) -> float:
    """The largest rho of zero-concentrated differential privacy that implies (epsilon, delta)."""

    def excess(log_rho: float) -> float:
        spent, _ = compute_epsilon(_ORDERS, [order * math.exp(log_rho) for order in _ORDERS], delta)
        return float(spent) - epsilon

    root = float(brentq(excess, math.log(1e-9), math.log(1e4), xtol=1e-9))
    return math.exp(root) * (1 - 1e-6)  # the root's own error is far smaller

"""How much of a source each mechanism keeps: measured correlation against theory and against the ceiling.

    python studies/correlation.py [--out DIR] [--quick]

The source is N(0, I_d), the release what the mechanism gives back, the figure E<x, z> / sqrt(E|x|^2 E|z|^2), at equal
whole-image epsilon. Rows are appended to `DIR/correlation.csv`; `DIR/correlation.png` shows the last run with the
ceiling that no pure mechanism passes. The Gaussian mechanism is (epsilon, 1e-6) and not under that ceiling.
A full run takes about five minutes on one core; it fails where a measurement leaves its theory by more than 3 % and
four standard errors.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from scipy.integrate import quad
from scipy.stats import chi, norm

from veilray.evaluation.palette import MECHANISM_STYLES, PURPLE
from veilray.privacy.ceiling import correlation_ceiling
from veilray.privacy.entropy import SystemEntropy
from veilray.privacy.exact import exact
from veilray.privacy.mechanisms import MECHANISMS, Claim, Mechanism

DIMENSIONS = (8, 64, 1024)
EPSILONS = ("0.5", "1", "2", "4", "8", "16", "32", "64")
DELTA = "0.000001"
CLIPS = ("1/8", "1/4", "1/2", "1", "3/2", "2", "5/2", "3")
ACCURATE = 0.01
"""A measurement stops when its standard error is this share of the theory, or when its time is over."""

STYLES = {name: MECHANISM_STYLES[name] for name in ("laplace", "gaussian", "directional", "codebook")}
STYLES["directional, sphere"] = (PURPLE, "D")


@dataclass(frozen=True)
class Row:
    """One measurement, as it stands in the CSV."""

    date: str
    dimension: int
    epsilon: str
    mechanism: str
    options: str
    theory: float
    measured: float
    standard_error: float
    ceiling: float
    rows: int
    rows_per_second: float


def laplace_theory(dimension: int, epsilon: float, clip: float) -> float:
    """Cov(x, clip(x)) is Pr[|x| < c] (Stein 1981); the noise has scale 2 c d / epsilon."""
    inside = 2 * norm.cdf(clip) - 1
    square = inside - 2 * clip * norm.pdf(clip) + 2 * clip**2 * norm.sf(clip)
    return float(inside / math.sqrt(square + 2 * (2 * clip * dimension / epsilon) ** 2))


def gaussian_theory(dimension: int, sigma: float) -> float:
    """The ball has radius sqrt(d); |x| is a chi variable."""
    radius, law = math.sqrt(dimension), chi(dimension)
    low, high = law.ppf(1e-12), law.ppf(1 - 1e-12)

    def mean(of: Callable[[float], float]) -> float:
        return float(quad(lambda r: of(r) * law.pdf(r), low, high, limit=200, points=[radius])[0])

    inner = mean(lambda r: r * min(r, radius))
    square = mean(lambda r: min(r, radius) ** 2) + dimension * sigma**2
    return inner / math.sqrt(dimension * square)


def contenders(dimension: int, epsilon: str) -> list[tuple[str, dict[str, Any], Mechanism, float]]:
    """Name, options, mechanism and theory of each contender; the Laplace box at its best clip."""
    pure, approximate = Claim.of(epsilon), Claim.of(epsilon, DELTA)
    clip = max(CLIPS, key=lambda c: laplace_theory(dimension, float(epsilon), float(exact(c))))
    laplace = MECHANISMS["laplace"].calibrate(pure, dimension, clip=clip)
    gaussian = MECHANISMS["gaussian"].calibrate(approximate, dimension)
    sigma = float(exact(gaussian.guarantee(dimension).parameters["sigma"]))
    entries: list[tuple[str, dict[str, Any], Mechanism, float]] = [
        ("laplace", {"clip": clip}, laplace, laplace_theory(dimension, float(epsilon), float(exact(clip)))),
        ("gaussian", {"delta": DELTA}, gaussian, gaussian_theory(dimension, sigma)),
    ]
    for name, mechanism, options in (
        ("directional", "directional", {}),
        ("directional, sphere", "directional", {"form": "sphere"}),
        ("codebook", "codebook", {}),
    ):
        blocks = math.ceil(float(epsilon) / 8)
        if blocks * (2 if options else 1) > dimension:
            continue
        made: Any = MECHANISMS[mechanism].calibrate(pure, dimension, **options)
        entries.append((name, options, made, made.expected_correlation()))
    return entries


def measure(mechanism: Mechanism, theory: float, seconds: float) -> tuple[float, float, int, float]:
    """Correlation, its standard error, rows used, rows a second."""
    entropy, rng = SystemEntropy(), np.random.default_rng()
    inner = source_square = release_square = inner_square = 0.0
    rows, drawing, batch = 0, 0.0, 4
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        source = rng.standard_normal((batch, mechanism.dimension))
        began = time.perf_counter()
        released = mechanism.release(source, entropy)
        took = time.perf_counter() - began
        drawing += took
        products = (source * released).sum(axis=1)
        inner, inner_square = inner + products.sum(), inner_square + (products**2).sum()
        source_square += (source**2).sum()
        release_square += (released**2).sum()
        rows += batch
        scale = math.sqrt(source_square * release_square)
        error = math.sqrt(max(inner_square - inner**2 / rows, 0.0)) / scale
        if rows > 500 and error < ACCURATE * theory:
            break
        batch = int(min(2 * batch if took < 0.1 else batch, 2**21 / mechanism.dimension))
    return inner / scale, error, rows, rows / drawing


def draw(rows: list[Row], target: Path) -> None:
    """One panel for each dimension: measured points, theory lines, the ceiling."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    dimensions = sorted({row.dimension for row in rows})
    figure, axes = plt.subplots(1, len(dimensions), figsize=(4.6 * len(dimensions), 4.6), squeeze=False)
    for axis, dimension in zip(axes[0], dimensions, strict=True):
        grid = np.geomspace(0.5, 64, 60)
        axis.plot(grid, [correlation_ceiling(e, dimension) for e in grid], color="black", label="ceiling (pure)")
        for name, (colour, marker) in STYLES.items():
            mine = [row for row in rows if row.dimension == dimension and row.mechanism == name]
            epsilons = [float(row.epsilon) for row in mine]
            axis.plot(epsilons, [row.theory for row in mine], color=colour, linewidth=1)
            axis.errorbar(
                epsilons,
                [row.measured for row in mine],
                [2 * row.standard_error for row in mine],
                color=colour,
                marker=marker,
                markersize=5,
                linestyle="none",
                label=name,
            )
        axis.set(xscale="log", yscale="log", xlabel="whole-image epsilon", title=f"d = {dimension}", ylim=(2e-4, 1.1))
        axis.set_xticks([0.5, 1, 2, 4, 8, 16, 32, 64], ["½", "1", "2", "4", "8", "16", "32", "64"])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("correlation with the source")
    axes[0][-1].legend(fontsize=8)
    figure.suptitle("Points: measured (2 standard errors). Lines: theory. Gaussian: delta 1e-6, not under the ceiling.")
    figure.tight_layout()
    figure.savefig(target, dpi=150)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/data"))
    parser.add_argument("--quick", action="store_true", help="a few points only, in half a minute")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    dimensions, epsilons = ((8, 64), ("1", "8")) if arguments.quick else (DIMENSIONS, EPSILONS)
    seconds = 1.0 if arguments.quick else 2.5
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    rows, off = [], []
    for dimension in dimensions:
        for epsilon in epsilons:
            ceiling = correlation_ceiling(exact(epsilon), dimension)
            for name, options, mechanism, theory in contenders(dimension, epsilon):
                measured, error, count, speed = measure(mechanism, theory, seconds)
                stated = " ".join(f"{key}={value}" for key, value in options.items())
                row = Row(
                    today, dimension, epsilon, name, stated, theory, measured, error, ceiling, count, round(speed, 1)
                )
                rows.append(row)
                wrong = abs(measured - theory) > 0.03 * theory + 4 * error
                off += [row] if wrong else []
                print(
                    f"d {dimension:5}  epsilon {epsilon:>4}  {name:20} theory {theory:.4f}  measured {measured:.4f} "
                    f"+- {error:.4f}  ceiling {ceiling:.4f}  {speed:9.0f} rows/s{'  OFF' if wrong else ''}",
                    flush=True,
                )
    table = arguments.out / "correlation.csv"
    fresh = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        if fresh:
            writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    draw(rows, arguments.out / "correlation.png")
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())

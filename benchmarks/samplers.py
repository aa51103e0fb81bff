"""Speed of the noise: ours against NumPy's own (unsafe) generators and against OpenDP, interleaved in one run.

    python benchmarks/samplers.py [--elements N] [--rounds N] [--json FILE]

Every round times each sampler once, one after the other, so that a busy machine slows all of them alike. Medians are
printed as a Markdown table; `ratio` is NumPy's time over ours in the same run (1 is equal, more is faster than NumPy).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from veilray.privacy import Claim, SystemEntropy
from veilray.privacy.mechanisms.gaussian import Gaussian
from veilray.privacy.mechanisms.laplace import Laplace

OPENDP_ELEMENTS = 20_000
"""OpenDP draws some ten thousand a second: a few are enough."""

CASES: list[tuple[str, Laplace | Gaussian]] = [
    ("laplace, per element, eps 1", Laplace.calibrate(Claim.of(1, unit="element"), 4096)),
    ("laplace, image, eps 8, d 1024", Laplace.calibrate(Claim.of(8), 1024)),
    ("laplace, image, eps 8, d 4096", Laplace.calibrate(Claim.of(8), 4096)),
    ("laplace, image, eps 8, d 12288", Laplace.calibrate(Claim.of(8), 12288)),
    ("laplace, image, eps 8, d 12288, 10 grid bits", Laplace.calibrate(Claim.of(8), 12288, grid_bits=10)),
    ("gaussian, image, eps 8, d 12288", Gaussian.calibrate(Claim.of(8, "1e-6"), 12288)),
]


def opendp_sampler(case: Laplace | Gaussian) -> Callable[[], Any] | None:
    """OpenDP's integer noise of the same scale, or None where it is not installed."""
    try:
        import opendp.prelude as dp
    except ImportError:
        return None
    dp.enable_features("contrib")
    scale = float(case._noise.scale)
    domain = dp.vector_domain(dp.atom_domain(T=int))
    if isinstance(case, Laplace):
        measure = (domain, dp.l1_distance(T=int)) >> dp.m.then_laplace(scale=scale)
    else:
        measure = (domain, dp.l2_distance(T=float)) >> dp.m.then_gaussian(scale=scale)
    zeros = [0] * OPENDP_ELEMENTS
    return lambda: measure(zeros)


def timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure_case(name: str, case: Laplace | Gaussian, elements: int, rounds: int) -> dict[str, Any]:
    rows = max(1, elements // case.dimension)
    shape = (rows, case.dimension)
    count = rows * case.dimension
    entropy, generator = SystemEntropy(), np.random.default_rng()
    bounded = case.bound(np.zeros(shape))
    latent = np.zeros(shape)
    draw = generator.laplace if isinstance(case, Laplace) else generator.normal
    scale = float(case._noise.scale)
    works: dict[str, tuple[Callable[[], Any], int]] = {
        "noise": (lambda: case._noise.sample(shape, entropy), count),
        "release": (lambda: case.randomise(bounded, entropy), count),
        "numpy": (lambda: draw(0.0, scale, shape), count),
        "numpy_release": (lambda: latent + draw(0.0, scale, shape), count),
    }
    theirs = opendp_sampler(case)
    if theirs is not None:
        works["opendp"] = (theirs, OPENDP_ELEMENTS)
    times: dict[str, list[float]] = {key: [] for key in works}
    for turn in range(rounds + 1):
        for key, (work, drawn) in works.items():
            if key == "opendp" and turn > 2:
                continue
            seconds = timed(work) / drawn
            if turn:  # the first round fills caches and tables
                times[key].append(seconds)
    per_element = {key: statistics.median(values) * 1e9 for key, values in times.items()}
    return {
        "case": name,
        "nanoseconds": per_element,
        "million_per_second": {key: 1e3 / value for key, value in per_element.items()},
        "ratio": per_element["numpy"] / per_element["noise"],
        "ratio_release": per_element["numpy_release"] / per_element["release"],
    }


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| case | ours, M/s | whole release, M/s | NumPy, M/s | OpenDP, M/s | ratio | ratio of whole releases |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        rate = result["million_per_second"]
        lines.append(
            f"| {result['case']} | {rate['noise']:.1f} | {rate['release']:.1f} | {rate['numpy']:.1f} | "
            f"{rate.get('opendp', float('nan')):.3f} | {result['ratio']:.2f} | {result['ratio_release']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--elements", type=int, default=2**20)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = [measure_case(name, case, options.elements, options.rounds) for name, case in CASES]
    print(table(results))
    if options.json:
        report = {
            "machine": platform.processor() or platform.machine(),
            "numpy": np.__version__,
            "elements": options.elements,
            "rounds": options.rounds,
            "results": results,
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

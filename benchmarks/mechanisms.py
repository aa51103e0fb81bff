"""Rows a second of the mechanisms that draw candidates or words: directional, codebook and selection.

    python benchmarks/mechanisms.py

Prints a Markdown table: rows a second on one core, for rows of k elements at whole-image epsilon 1, 4 and 8.
"""

from __future__ import annotations

import os
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from veilray.privacy import MECHANISMS, Claim, SeededEntropy, SystemEntropy
from veilray.privacy.samplers.normal import normals

EPSILONS = ("1", "4", "8")
DIMENSIONS = (8, 64, 1024)
SECONDS = 2.0


def main() -> None:
    print("| mechanism, epsilon | " + " | ".join(f"k = {k:,}" for k in DIMENSIONS) + " |")
    print("|---" * (1 + len(DIMENSIONS)) + "|")
    for name in ("directional", "codebook", "selection"):
        for epsilon in EPSILONS:
            cells = [f"{rows_per_second(name, epsilon, k):,.0f}" for k in DIMENSIONS]
            print(f"| {name}, {epsilon} | " + " | ".join(cells) + " |", flush=True)


def rows_per_second(name: str, epsilon: str, k: int) -> float:
    kind = MECHANISMS[name]
    options: dict[str, Any] = {}
    if kind.wants_candidates:
        options["candidates"] = normals(SeededEntropy("candidates").words((1024, k), np.uint64))
    mechanism = kind.calibrate(Claim.of(epsilon), k, **options)
    entropy, done, began = SystemEntropy(), 0, time.perf_counter()
    rows = normals(SeededEntropy("rows").words((64, k), np.uint64))
    while (spent := time.perf_counter() - began) < SECONDS:
        mechanism.release(rows, entropy)
        done += len(rows)
    return done / spent


if __name__ == "__main__":
    main()

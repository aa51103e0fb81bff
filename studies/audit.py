"""Measure the audit's one table of bars and the verdicts on the broken gallery; append both to a CSV.

    python studies/audit.py mechanisms [--trials 1000000] [--only directional] [--out docs/data/audit.csv]
    python studies/audit.py gallery    [--trials 100000] [--out docs/data/audit.csv]

One row for each subject: what it claims, what was certified at 99 % by the check the bar is about (for a gallery
entry, by its worst failed check), the bar, and the tests that failed it. Noise comes from the operating system, as in a
release, so figures differ in the last digit from run to run.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from veilray.evaluation.audit import BARS, EPSILONS, FULL, QUICK, Check, Report, audit, audit_mechanism
from veilray.evaluation.audit.gallery import GALLERY
from veilray.privacy import MECHANISMS, Claim

COLUMNS = (
    "date", "kind", "subject", "unit", "claim", "delta", "dimension", "trials a side", "check", "of", "claimed",
    "certified at 99 %", "share", "bar", "verdict", "failed by", "seconds",
)  # fmt: skip
DELTA = "1e-5"
DIMENSION = 8


def mechanisms(trials: int, only: str | None) -> Iterator[dict[str, Any]]:
    """Every barred mechanism at every epsilon of the table, and selection, which has no bar."""
    cells = [*BARS, *((name, "image") for name in MECHANISMS if not any(name == barred for barred, _ in BARS))]
    for name, unit in cells:
        if only is not None and name != only:
            continue
        for epsilon in EPSILONS:
            dimension = 1 if name == "randomised_response" else DIMENSION
            claim = Claim(epsilon, Claim.of(1, DELTA).delta if name == "gaussian" else Claim.of(1).delta, unit)
            start = time.perf_counter()
            report = audit_mechanism(name, claim, dimension, trials)
            shown = next((c for c in report.checks if c.bar is not None), report.checks[0])
            yield {
                **_row(report, shown, trials, time.perf_counter() - start),
                "kind": "mechanism",
                "unit": unit,
                "claim": str(epsilon),
                "delta": DELTA if name == "gaussian" else "0",
                "verdict": "FAIL" if not report.passed else shown.verdict,
            }


def gallery(trials: int, only: str | None) -> Iterator[dict[str, Any]]:
    """Every broken build."""
    for name in GALLERY:
        if only is not None and name != only:
            continue
        start = time.perf_counter()
        report = audit(GALLERY[name].build(), trials)
        worst = max(report.failures, key=lambda check: check.share or 0.0, default=report.checks[0])
        yield {**_row(report, worst, trials, time.perf_counter() - start), "kind": "gallery"}


def _row(report: Report, check: Check, trials: int, seconds: float) -> dict[str, Any]:
    limit, shown, share = check.limit, check.shown, check.share
    return {
        "date": date.today().isoformat(),
        "subject": report.subject,
        "dimension": report.dimension,
        "trials a side": trials,
        "check": check.test,
        "of": "" if limit is None else limit.kind,
        "claimed": "" if limit is None else f"{limit.value:.5g}",
        "certified at 99 %": "" if shown is None else f"{shown:.5g}",
        "share": "" if share is None else f"{share:.4f}",
        "bar": "" if check.bar is None else f"{check.bar:.4f}",
        "verdict": "pass" if report.passed else "FAIL",
        "failed by": "; ".join(failed.test for failed in report.failures),
        "seconds": f"{seconds:.1f}",
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure, append."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=("mechanisms", "gallery"))
    parser.add_argument("--trials", type=int, help=f"a side; {FULL:,} for mechanisms and {QUICK:,} for the gallery")
    parser.add_argument("--only", help="one mechanism or gallery entry")
    parser.add_argument("--out", type=Path, default=Path("docs/data/audit.csv"))
    options = parser.parse_args(arguments)
    run, usual = (mechanisms, FULL) if options.part == "mechanisms" else (gallery, QUICK)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    new = not options.out.exists()
    with options.out.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        if new:
            writer.writeheader()
        for row in run(options.trials or usual, options.only):
            writer.writerow(row)
            file.flush()
            print(
                f"{row['subject']:28} {row.get('claim', ''):>5} {row['share']:>8} {row['verdict']}  {row['failed by']}"
            )


if __name__ == "__main__":
    main()

"""Measure the audit's one table of bars, further variants, and the verdicts on the broken gallery; append to a CSV.

    python studies/audit.py mechanisms [--trials 1000000] [--only directional] [--out docs/data/audit.csv]
    python studies/audit.py variants   [--trials 400000] [--only laplace] [--out docs/data/audit.csv]
    python studies/audit.py gallery    [--trials 100000] [--out docs/data/audit.csv]

About .4, .15 and .01 core-hours.
One row for each subject: what it claims, what was certified at 99 % by the check the bar is about (for a gallery
entry, by its worst failed check), the bar, and the tests that failed it. What was certified is rounded
down. Noise comes from the operating system, as in a release, so figures differ in the last digit from run to run.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from veilray.evaluation.audit import BARS, EPSILONS, FULL, QUICK, Check, Report, audit, audit_mechanism, calibrated
from veilray.evaluation.audit.gallery import GALLERY
from veilray.privacy import MECHANISMS, Claim, decimal_text, lower_text
from veilray.privacy.audited import variant_of

COLUMNS = (
    "date", "kind", "subject", "unit", "bound", "form", "of", "claim", "delta", "dimension", "trials a side", "check",
    "of what", "claimed", "certified at 99 %", "share", "bar", "verdict", "failed by", "seconds",
)  # fmt: skip
DELTA = "1e-5"
DIMENSION = 8


@dataclass(frozen=True)
class Asked:
    """One variant to be audited at every epsilon of the table."""

    name: str
    dimension: int
    trials: int
    unit: Literal["image", "element"] = "image"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def delta(self) -> str:
        """Gaussian noise needs one, in blocks or not."""
        return DELTA if "gaussian" in (self.name, self.options.get("of")) else "0"


MANY, FEWER, FEW = 400_000, 100_000, 20_000
"""Trials a side at 8, 64 and 784 elements: what a few minutes allow."""

VARIANTS = (
    Asked("laplace", DIMENSION, MANY),
    Asked("laplace", DIMENSION, MANY, options={"bound": "l1-ball"}),
    Asked("gaussian", DIMENSION, MANY, options={"bound": "box"}),
    Asked("gaussian", DIMENSION, MANY, "element"),
    Asked("directional", DIMENSION, MANY, options={"form": "sphere"}),
    Asked("blockwise", DIMENSION, MANY, options={"of": "directional", "form": "sphere"}),
    Asked("blockwise", DIMENSION, MANY, options={"of": "laplace"}),
    Asked("blockwise", DIMENSION, MANY, options={"of": "gaussian"}),
    Asked("blockwise", DIMENSION, MANY, options={"of": "codebook"}),
    Asked("blockwise", DIMENSION, MANY, options={"of": "selection"}),
    Asked("randomised_response", DIMENSION, MANY, options={"levels": 5}),
    Asked("randomised_response", DIMENSION, MANY, "element", options={"levels": 5}),
    Asked("directional", 64, FEWER),
    Asked("blockwise", 64, FEWER, options={"of": "directional"}),
    Asked("laplace", 784, FEW),
    Asked("laplace", 784, FEW, "element"),
    Asked("gaussian", 784, FEW),
    Asked("directional", 784, FEW),
)
"""What a release can be made with, beside the barred ones: other bounds, forms and inner mechanisms, longer rows."""


def mechanisms(trials: int | None, only: str | None) -> Iterator[dict[str, Any]]:
    """Every barred mechanism at every epsilon of the table, and selection, which has no bar."""
    cells = [*BARS, *((name, "image") for name in MECHANISMS if not any(name == barred for barred, _ in BARS))]
    for name, unit in cells:
        dimension = 1 if name == "randomised_response" else DIMENSION
        if only in (None, name):
            yield from _audits(Asked(name, dimension, trials or FULL, unit))  # type: ignore[arg-type]


def variants(trials: int | None, only: str | None) -> Iterator[dict[str, Any]]:
    """Every further variant, at every epsilon of the table."""
    for asked in VARIANTS:
        if only in (None, asked.name):
            yield from _audits(asked if trials is None else replace(asked, trials=trials))


def _audits(asked: Asked) -> Iterator[dict[str, Any]]:
    for epsilon in EPSILONS:
        claim = Claim.of(epsilon, asked.delta, asked.unit)
        mechanism = calibrated(asked.name, claim, asked.dimension, **asked.options)
        variant = variant_of(mechanism.guarantee(asked.dimension))
        start = time.process_time()
        report = audit_mechanism(asked.name, claim, asked.dimension, asked.trials, **asked.options)
        seconds = time.process_time() - start
        # The check that the bar is about; without a bar the claim itself: the worst pair, or one element.
        one = {"box": "each element", "none": "last cell changed / likelihood"}
        wanted = one[variant.bound] if asked.unit == "element" else "worst case / likelihood"
        shown = next(check for check in report.checks if check.test == wanted)
        yield {
            **_row(report, shown, asked.trials, seconds),
            **{key: value for key, value in asdict(variant).items() if key != "mechanism"},
            "kind": "mechanism",
            "claim": str(epsilon),
            "delta": asked.delta,
            "verdict": "FAIL" if not report.passed else shown.verdict,
        }


def gallery(trials: int | None, only: str | None) -> Iterator[dict[str, Any]]:
    """Every broken build."""
    for name in GALLERY:
        if only is not None and name != only:
            continue
        start = time.process_time()
        report = audit(GALLERY[name].build(), trials or QUICK)
        worst = max(report.failures, key=lambda check: check.share or 0.0, default=report.checks[0])
        yield {**_row(report, worst, trials or QUICK, time.process_time() - start), "kind": "gallery"}


def _row(report: Report, check: Check, trials: int, seconds: float) -> dict[str, Any]:
    limit, shown, share = check.limit, check.shown, check.share
    return {
        "date": date.today().isoformat(),
        "subject": report.subject,
        "dimension": report.dimension,
        "trials a side": trials,
        "check": check.test,
        "of what": "" if limit is None else limit.kind,
        "claimed": "" if limit is None else decimal_text(Fraction(limit.value), 5),
        "certified at 99 %": "" if shown is None else lower_text(Fraction(shown), 5),
        "share": "" if share is None else f"{math.floor(share * 10_000) / 10_000:.4f}",
        "bar": "" if check.bar is None else f"{check.bar:.4f}",
        "verdict": "pass" if report.passed else "FAIL",
        "failed by": "; ".join(failed.test for failed in report.failures),
        "seconds": f"{seconds:.1f}",
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure, append."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=("mechanisms", "variants", "gallery"))
    parser.add_argument(
        "--trials",
        type=int,
        help=f"a side; usually {FULL:,} (mechanisms), {QUICK:,} (gallery), less for variants",
    )
    parser.add_argument("--only", help="one mechanism or gallery entry")
    parser.add_argument("--out", type=Path, default=Path("docs/data/audit.csv"))
    options = parser.parse_args(arguments)
    run = {"mechanisms": mechanisms, "variants": variants, "gallery": gallery}[options.part]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    new = not options.out.exists()
    with options.out.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        if new:
            writer.writeheader()
        for row in run(options.trials, options.only):
            writer.writerow(row)
            file.flush()
            print(
                f"{row['subject']:28} {row.get('claim', ''):>5} {row['share']:>8} {row['verdict']}  {row['failed by']}"
            )


if __name__ == "__main__":
    main()

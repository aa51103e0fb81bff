"""`veilray audit`: attack a mechanism with everything that its claim allows, and show how much of epsilon is proved."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veilray.cli import options
from veilray.cli.output import OUT, print_json, progress_bar

if TYPE_CHECKING:
    from veilray.evaluation.audit import Check, Report
    from veilray.privacy import Claim

__all__ = ["audit"]

_DIMENSION = 8


def audit(
    epsilon: Annotated[str, typer.Option(help='The claim, exact: "0.5", "1/3", 4.')],
    mechanism: options.Mechanism = None,
    model: Annotated[
        str | None, typer.Option(help="MODEL: audit its latent, and through the file that leaves.")
    ] = None,
    delta: options.Delta = "0",
    unit: options.Unit = "image",
    dimension: Annotated[int | None, typer.Option(help="Elements of a row; 8 unless given.")] = None,
    trials: Annotated[int, typer.Option(help="Of each side of the worst pair; others get a tenth.")] = 100_000,
    as_json: options.AsJson = False,
) -> int:
    """Measure a lower bound of epsilon against the claim. An audit can refute a claim; it cannot prove one."""
    from veilray.privacy import Claim

    claim = Claim.of(epsilon, delta, unit)  # type: ignore[arg-type]  # Claim checks the unit itself
    if model is not None:
        if dimension is not None:
            raise ValueError(f"--dimension must be absent with --model, got {dimension}: it is the model's")
        reports = _of_model(model, mechanism, claim, trials)
    elif mechanism is not None:
        reports = [_of_mechanism(mechanism, claim, _DIMENSION if dimension is None else dimension, trials)]
    else:
        raise ValueError("--mechanism or --model must be given, got neither")
    passed = all(report.passed for report in reports)
    if as_json:
        asked = {"epsilon": str(claim.epsilon), "delta": str(claim.delta), "unit": claim.unit, "trials": trials}
        print_json({"claim": asked, "passed": passed, "reports": [report.to_dict() for report in reports]})
    else:
        for report in reports:
            _print(report)
    return 0 if passed else 1


def _of_mechanism(name: str, claim: Claim, dimension: int, trials: int) -> Report:
    from veilray.evaluation.audit import audit_mechanism

    with progress_bar(f"auditing {name}") as advance:
        return audit_mechanism(name, claim, dimension, trials, progress=advance)


def _of_model(model: str, mechanism: str | None, claim: Claim, trials: int) -> list[Report]:
    import torch

    torch.set_num_threads(1)  # a check forks, and a forked child waits forever for a thread pool it has not got
    from veilray.api import open_model
    from veilray.api_tables import holds_table, open_table_model
    from veilray.evaluation.audit import audit as run
    from veilray.evaluation.audit import subject_of
    from veilray.evaluation.audit.through_file import THROUGH_FILE_ROWS, through_file, through_table
    from veilray.flows import keep_freed_memory

    keep_freed_memory()
    if holds_table(model):
        table = open_table_model(model)
        drawn_by = table.calibrated(claim, mechanism)
        seen_by_others = through_table(table, drawn_by, claim)
    else:
        method = open_model(model)
        drawn_by = method.calibrated(claim, mechanism)
        seen_by_others = through_file(method, drawn_by, claim)
    with progress_bar("auditing the latent") as advance:
        latent = run(subject_of(drawn_by, claim), trials, progress=advance)
    with progress_bar("auditing through the file") as advance:
        seen = run(seen_by_others, trials, progress=advance, rows=THROUGH_FILE_ROWS)
    return [latent, seen]


def _print(report: Report) -> None:
    from rich.table import Table

    from veilray.privacy import lower_text

    table = Table(title=f"{report.subject}, {report.dimension} elements", title_justify="left")
    for heading in ("test", "claimed", "certified at 99 %", "trials", "verdict"):
        table.add_column(heading, justify="left" if heading in ("test", "verdict") else "right")
    for check in report.checks:
        style = "" if check.verdict == "pass" else "bold red" if not check.passed else "yellow"
        table.add_row(*_row(check), style=style)
    OUT.print(table)
    best = report.sharpest
    if best is not None and best.limit is not None:
        share = lower_text(Fraction(100 * (best.share or 0)), 3)
        OUT.print(f"sharpest: {best.test}, {share} % of the claimed {best.limit.kind}", highlight=False)
    OUT.print(
        "passed: nothing refutes the claim" if report.passed else "FAILED: the claim is refuted",
        style="" if report.passed else "bold red",
    )


def _row(check: Check) -> tuple[Any, ...]:
    from veilray.privacy import decimal_text, lower_text

    if check.limit is None or check.shown is None:
        return check.test, "", "", "", f"{check.verdict} {check.detail}".strip()
    # A claim is an upper bound and rounded up, what was certified a lower one and rounded down.
    claimed = f"{check.limit.kind} {decimal_text(Fraction(check.limit.value))}"
    return check.test, claimed, lower_text(Fraction(check.shown)), f"{check.trials:,}", check.verdict

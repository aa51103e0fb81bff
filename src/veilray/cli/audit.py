"""`veilray audit`: attack a mechanism with everything that its claim allows, and show how much of epsilon is proved."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veilray.cli import options
from veilray.cli.output import OUT, counted, print_json, progress_bar
from veilray.privacy import decimal_text, delta_text, lower_text

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
            _print(report, claim)
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


def _print(report: Report, claim: Claim) -> None:
    """The sharpest attack on each pair of inputs and every failed test in a table, and below it what that means."""
    from rich.table import Table

    table = Table(title=f"Audit of {report.subject}, rows of {_elements(report)}: {_claimed(claim)}")
    table.title_justify = "left"
    for heading in ("attack", "claimed", "certified at 99 %", "trials", "verdict"):
        table.add_column(heading, justify="left" if heading in ("attack", "verdict") else "right")
    for check in _shown(report):
        style = "" if check.verdict == "pass" else "bold red" if not check.passed else "yellow"
        table.add_row(*_row(check), style=style)
    OUT.print(table)
    for style, line in _meaning(report):
        OUT.print(line, style=style, highlight=False, soft_wrap=True)


def _shown(report: Report) -> list[Check]:
    """Of the attacks on one pair of inputs the one that certified most; whatever failed; and the rules that hold."""
    sharpest: dict[str, Check] = {}
    for check in report.checks:
        before = sharpest.setdefault(_pair(check), check)
        if (check.share or 0.0) > (before.share or 0.0):
            sharpest[_pair(check)] = check
    kept = set(map(id, sharpest.values()))
    return [check for check in report.checks if id(check) in kept or check.verdict != "pass"]


def _pair(check: Check) -> str:
    return check.test.partition(" / ")[0]


def _row(check: Check) -> tuple[Any, ...]:
    if check.limit is None or check.shown is None:
        return check.test, "", "", "", f"{check.verdict} {check.detail}".strip()
    # A claim is an upper bound and rounded up, what was certified a lower one and rounded down.
    claimed = f"{check.limit.kind} {decimal_text(Fraction(check.limit.value))}"
    return check.test, claimed, lower_text(Fraction(check.shown)), f"{check.trials:,}", check.verdict


def _claimed(claim: Claim) -> str:
    delta = f", delta {delta_text(claim.delta)}" if claim.delta else ""
    what = "a whole image" if claim.unit == "image" else "one element"
    return f"epsilon {decimal_text(claim.epsilon)}{delta} is claimed for {what}"


def _elements(report: Report) -> str:
    return counted(report.dimension, "element")


def _meaning(report: Report) -> list[tuple[str, str]]:
    """Style and text of each sentence."""
    attacks = sum(check.limit is not None for check in report.checks)
    rules = len(report.checks) - attacks
    told = [
        (
            "",
            f"{counted(attacks, 'attack')} guessed which of two inputs a release was made from; the table has the "
            f"sharpest on each pair of inputs. {counted(rules, 'rule')} of a sound mechanism were checked.",
        )
    ]
    best = report.sharpest
    if best is not None:
        told.append(("", _certified(best)))
    if weak := [check.test for check in report.checks if check.weak]:
        names = ", ".join(weak)
        told.append(
            ("yellow", f"weak: {names}: less was certified than is known to be within reach, so this audit saw little.")
        )
    if report.passed:
        told.append(
            (
                "",
                "passed: no test refutes the claim (of a million audits of a sound mechanism about one would). An "
                "audit can refute a claim; it cannot prove one: the proofs are in the documentation.",
            )
        )
    else:
        names = ", ".join(check.test for check in report.failures)
        told.append(
            (
                "bold red",
                f"FAILED: the claim is refuted by {names}. Of a million audits of a sound mechanism about one fails.",
            )
        )
    return told


def _certified(best: Check) -> str:
    """What the sharpest attack proves, in words."""
    assert best.limit is not None and best.shown is not None and best.share is not None
    measure = best.limit.kind if best.limit.kind == "epsilon" else "mu (of Gaussian differential privacy)"
    if best.shown == 0:
        return (
            f"certified: nothing. No attack is better than chance at 99 % confidence, where {measure} "
            f"{decimal_text(Fraction(best.limit.value))} is claimed: these trials saw nothing, and more --trials see "
            "more."
        )
    return (
        f"certified: {lower_text(Fraction(100 * best.share), 3)} % of the claim. From {best.trials:,} trials "
        f'"{best.test}" proves {measure} {lower_text(Fraction(best.shown))} or more for its pair of inputs, where '
        f"{decimal_text(Fraction(best.limit.value))} is claimed, at 99 % confidence "
        "of this one bound. Near 100 % the claim is tight. A low share says that these trials could not see more, not "
        "that less leaks."
    )

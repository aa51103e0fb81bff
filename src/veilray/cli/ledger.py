"""`veilray ledger`: the budget of a ledger, and what was spent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veilray.cli import options
from veilray.cli.output import OUT, STATUS, counted, print_json

if TYPE_CHECKING:
    from veilray.ledger import Budget, ReleaseRow

__all__ = ["app", "print_ledger"]

app = typer.Typer(no_args_is_help=True, help="The budget of a patient, and what was spent.")


@app.command("init")
def init(
    epsilon: Annotated[str, typer.Option(help="The most that a patient may be spent, over all releases, ever.")],
    delta: Annotated[str, typer.Option(help="0 allows only pure releases; gdp is read at this delta.")] = "0",
    accounting: Annotated[str, typer.Option(help="sum, or gdp (allows more small releases).")] = "sum",
    path: options.Ledger = None,
) -> int:
    """Set the budget of a ledger, once. Every later release that would go beyond it is refused."""
    from veilray.ledger import Budget, Journal, ledger_path
    from veilray.privacy import exact

    budget = Budget(exact(epsilon, "epsilon"), exact(delta, "delta"), accounting)  # type: ignore[arg-type]
    journal = Journal(ledger_path(path))
    journal.set_budget(budget)
    OUT.print(f"{journal.path}: {_words(budget)}", highlight=False, soft_wrap=True)
    return 0


@app.command("show")
def show(
    path: options.Ledger = None,
    as_json: options.AsJson = False,
) -> int:
    """Show the budget and the releases of a ledger; makes none."""
    from veilray.ledger import Journal, ledger_path

    file = ledger_path(path)
    if not file.exists():
        if path is not None:
            raise ValueError(f"--ledger must be a ledger that exists, got {file}: `veilray ledger init` makes one")
        _print_none(file, as_json)
        return 0
    journal = Journal(file)
    if as_json:
        releases = [_told(row) for row in journal.releases()]
        print_json({"ledger": str(journal.path), "budget": _as_json(journal.budget), "releases": releases})
        return 0
    OUT.print(f"{journal.path}: {_words(journal.budget)}", highlight=False, soft_wrap=True)
    for row in journal.releases():
        OUT.print(_line(row), highlight=False, soft_wrap=True)
    OUT.print(f"patients ever charged: {journal.patients():,}", highlight=False)
    return 0


def print_ledger(path: str | None) -> None:
    """Say on stderr which ledger a release is charged in, and what its budget is; makes none."""
    from veilray.ledger import Journal, ledger_path

    file = ledger_path(path)
    words = _words(Journal(file).budget) if file.exists() else f"a new one; {_words(None)}"
    STATUS.print(f"ledger {file}: {words}", highlight=False, soft_wrap=True)


def _told(row: ReleaseRow) -> dict[str, Any]:
    """A release as JSON types."""
    claim = row.guarantee
    return {
        "release": row.identifier,
        "out": row.out,
        "created": row.created.isoformat(),
        "state": row.state.value,
        "record": claim.record,
        "records": claim.releases.images if claim.releases else None,
        "image_epsilon": str(claim.total_image_epsilon),
        "patient_epsilon": None if claim.patient_epsilon is None else str(claim.patient_epsilon),
    }


def _line(row: ReleaseRow) -> str:
    """A release in one line: where it is, by which name the RELEASE knows itself, how much it holds and costs."""
    from veilray.privacy import decimal_text

    claim = row.guarantee
    records = counted(claim.releases.images if claim.releases else 0, claim.record)
    worst = "unknown" if claim.patient_epsilon is None else decimal_text(claim.patient_epsilon)
    place = "at an unknown place" if row.out is None else row.out
    return (
        f"{row.created:%Y-%m-%d} {row.identifier[:12]} {place} {row.state.value}: {records}, "
        f"epsilon {decimal_text(claim.total_image_epsilon)} each, worst patient {worst}"
    )


def _print_none(path: Path, as_json: bool) -> None:
    """Of a house that has released nothing yet."""
    if as_json:
        print_json({"ledger": str(path), "budget": None, "releases": []})
    else:
        OUT.print(f"{path}: nothing was released yet; {_words(None)}", highlight=False, soft_wrap=True)


def _words(budget: Budget | None) -> str:
    return "no budget is set; `veilray ledger init` sets one" if budget is None else budget.in_words()


def _as_json(budget: Budget | None) -> dict[str, str] | None:
    if budget is None:
        return None
    return {"epsilon": str(budget.epsilon), "delta": str(budget.delta), "accounting": budget.accounting}

"""`veilray ledger`: the budget of a ledger, and what was spent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veilray.cli import options
from veilray.cli.output import OUT, counted, print_json

if TYPE_CHECKING:
    from veilray.ledger import Budget

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="The budget of a patient, and what was spent.")


@app.command("init")
def init(
    epsilon: Annotated[str, typer.Option(help="The most that a patient may be spent, over all releases, ever.")],
    delta: Annotated[str, typer.Option(help="0 allows only pure releases; gdp is read at this delta.")] = "0",
    accounting: Annotated[str, typer.Option(help="sum, or gdp (allows more small releases).")] = "sum",
    path: options.Ledger = None,
) -> int:
    """Set the budget of a ledger, once. Every later release that would go beyond it is refused."""
    from veilray.ledger import Budget, Journal, default_ledger
    from veilray.privacy import exact

    budget = Budget(exact(epsilon, "epsilon"), exact(delta, "delta"), accounting)  # type: ignore[arg-type]
    journal = Journal(path or default_ledger())
    journal.set_budget(budget)
    OUT.print(f"{journal.path}: {_words(budget)}", highlight=False, soft_wrap=True)
    return 0


@app.command("show")
def show(
    path: options.Ledger = None,
    as_json: options.AsJson = False,
) -> int:
    """Show the budget and the releases of a ledger; makes none."""
    from veilray.ledger import Journal, default_ledger
    from veilray.privacy import decimal_text

    if path is not None and not path.exists():
        raise ValueError(f"--ledger must be a ledger that exists, got {path}: `veilray ledger init` makes one")
    if path is None and not default_ledger().exists():
        _print_none(default_ledger(), as_json)
        return 0
    journal = Journal(path or default_ledger())
    rows = [
        {
            "release": row.identifier,
            "created": row.created.isoformat(),
            "state": row.state.value,
            "images": row.guarantee.releases.images if row.guarantee.releases else None,
            "image_epsilon": str(row.guarantee.total_image_epsilon),
            "patient_epsilon": None if row.guarantee.patient_epsilon is None else str(row.guarantee.patient_epsilon),
        }
        for row in journal.releases()
    ]
    if as_json:
        print_json({"ledger": str(journal.path), "budget": _as_json(journal.budget), "releases": rows})
        return 0
    OUT.print(f"{journal.path}: {_words(journal.budget)}", highlight=False, soft_wrap=True)
    for row in journal.releases():
        claim = row.guarantee
        images = counted(claim.releases.images if claim.releases else 0, "image")
        worst = "unknown" if claim.patient_epsilon is None else decimal_text(claim.patient_epsilon)
        OUT.print(
            f"{row.created:%Y-%m-%d} {row.identifier[:12]} {row.state.value}: {images}, "
            f"epsilon {decimal_text(claim.total_image_epsilon)} each, worst patient {worst}",
            highlight=False,
            soft_wrap=True,
        )
    OUT.print(f"patients ever charged: {journal.patients():,}", highlight=False)
    return 0


def _print_none(path: Path, as_json: bool) -> None:
    """Of a house that has released nothing yet."""
    if as_json:
        print_json({"ledger": str(path), "budget": None, "releases": []})
    else:
        OUT.print(f"{path}: nothing was released yet; {_words(None)}", highlight=False, soft_wrap=True)


def _words(budget: Budget | None) -> str:
    from veilray.privacy import decimal_text, delta_text

    if budget is None:
        return "no budget is set; `veilray ledger init` sets one"
    text = f"a patient may be spent epsilon {decimal_text(budget.epsilon)}"
    return text + (f" at delta {delta_text(budget.delta)} ({budget.accounting})" if budget.delta else " (pure sum)")


def _as_json(budget: Budget | None) -> dict[str, str] | None:
    if budget is None:
        return None
    return {"epsilon": str(budget.epsilon), "delta": str(budget.delta), "accounting": budget.accounting}

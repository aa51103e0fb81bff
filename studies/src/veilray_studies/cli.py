"""`veilray-study`: a table of independent cells, stated before it starts, run in processes, appended to a CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from veilray.cli import main as grammar
from veilray.cli import options
from veilray.cli.output import OUT, STATUS, counted, print_json, progress_bar, progress_stages
from veilray_studies import Outcome, Plan, draw_study, plan_study, run_study

__all__ = ["app", "main"]

_SHOWN = 20

app = typer.Typer(name="veilray-study", pretty_exceptions_enable=False, add_completion=False)


@app.command()
def study(
    config: Annotated[Path, typer.Argument(help="TOML: name, kind, out, [limits], [fixed] and [[grid]] tables.")],
    cells: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE[,VALUE]: only these cells; several must all fit.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Skip the cells that the CSV holds.")] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Draw from the CSV; run nothing.")] = False,
    jobs: Annotated[int, typer.Option(help="Cells at a time, one core each.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="State cells and core-hours; run nothing.")] = False,
    as_json: options.AsJson = False,
) -> int:
    """Run a study: each cell in its own process, finished cells kept, failed ones written down beside the CSV."""
    if plot:
        if resume or dry_run:
            raise ValueError("--plot must stand without --resume and --dry-run, got them together: it runs nothing")
        with progress_bar("drawing"):
            drawn = draw_study(config, cells or ())
        if as_json:
            print_json({"figures": [str(path) for path in drawn]})
        for path in [] if as_json else drawn:
            OUT.print(str(path), highlight=False, soft_wrap=True)
        return 0
    if dry_run:
        plan = plan_study(config, cells or (), jobs)
        if as_json:
            print_json(_plan_told(plan))
        else:
            OUT.print(_plan_text(plan), highlight=False, soft_wrap=True)
            for told in plan.missing:
                OUT.print(f"missing: {told}", style="bold red", highlight=False, soft_wrap=True)
        return 1 if plan.missing else 0
    with progress_stages("cells", begun=False) as (advance,):
        outcome = run_study(
            config,
            cells or (),
            resume=resume,
            jobs=jobs,
            on_plan=lambda plan: STATUS.print(_plan_text(plan), highlight=False, soft_wrap=True),
            progress=advance,
        )
    if as_json:
        print_json(_outcome_told(outcome))
    else:
        _print(outcome)
    return 0 if outcome.complete else 1


def _plan_text(plan: Plan) -> str:
    return (
        f"{counted(len(plan.done) + len(plan.left), 'cell')}, {len(plan.done):,} done, {len(plan.left):,} left: "
        f"{plan.left_hours:.2f} core-hours stated, about {plan.wall_hours:.2f} hours with {plan.jobs} at a time; "
        f"the whole study {plan.total_hours:.2f} core-hours"
    )


def _print(outcome: Outcome) -> None:
    OUT.print(
        f"{counted(outcome.finished, 'cell')} finished, {counted(outcome.rows, 'row')} appended to {outcome.plan.out}, "
        f"{outcome.core_seconds / 3600:.2f} core-hours spent",
        highlight=False,
        soft_wrap=True,
    )
    for failure in outcome.failures[:_SHOWN]:
        OUT.print(f"failed: {failure.cell}: {failure.error}", style="bold red", highlight=False, soft_wrap=True)
    if outcome.failures:
        OUT.print(
            f"{counted(len(outcome.failures), 'cell')} failed; {outcome.failures_file} tells how, "
            "--resume tries them again",
            style="bold red",
            highlight=False,
            soft_wrap=True,
        )
    if outcome.unstarted:
        OUT.print(
            f"not started: {counted(outcome.unstarted, 'cell')}; the study's core-hours are spent",
            style="bold red",
            highlight=False,
            soft_wrap=True,
        )


def _plan_told(plan: Plan) -> dict[str, Any]:
    return {
        "out": str(plan.out),
        "cells": len(plan.done) + len(plan.left),
        "done": len(plan.done),
        "left": len(plan.left),
        "core_hours_left": round(plan.left_hours, 4),
        "core_hours_total": round(plan.total_hours, 4),
        "wall_hours": round(plan.wall_hours, 4),
        "jobs": plan.jobs,
        "missing": list(plan.missing),
    }


def _outcome_told(outcome: Outcome) -> dict[str, Any]:
    return {
        **_plan_told(outcome.plan),
        "finished": outcome.finished,
        "rows": outcome.rows,
        "core_hours_spent": round(outcome.core_seconds / 3600, 4),
        "failed": [{"cell": dict(each.cell.parameters), "error": each.error} for each in outcome.failures],
        "unstarted": outcome.unstarted,
    }


def main() -> None:
    """Run the command and exit with its code."""
    grammar.run(app, "veilray-study")


if __name__ == "__main__":
    main()

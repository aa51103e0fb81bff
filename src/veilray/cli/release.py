"""`veilray release`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veilray.cli import options
from veilray.cli.opening import parse_columns, parse_pairs
from veilray.cli.output import OUT, print_card, print_json, progress_stages

if TYPE_CHECKING:
    from veilray.releases import Outcome

__all__ = ["release"]


def release(
    images: Annotated[Path, typer.Argument(help="Images as `veilray fit` takes them; a table for a model of tables.")],
    model: options.Model,
    epsilon: Annotated[str, typer.Option(help="The claim, as a decimal number or a fraction. No default.")],
    out: Annotated[Path, typer.Option(help="RELEASE: the new folder that leaves the house.")],
    unit: options.Unit = "image",
    mechanism: options.Mechanism = None,
    delta: options.Delta = "0",
    clip: options.Clip = None,
    radius: options.Radius = None,
    mechanism_option: options.MechanismOption = None,
    candidates: options.Candidates = None,
    bound: options.Bound = None,
    label_policy: Annotated[str, typer.Option(help="public, randomised or withheld.")] = "withheld",
    label_epsilon: Annotated[str | None, typer.Option(help="Epsilon of the label, when randomised.")] = None,
    condition_policy: Annotated[
        list[str] | None, typer.Option(help="NAME=public, NAME=randomised:EPSILON or NAME=withheld.")
    ] = None,
    condition_levels: Annotated[
        list[str] | None, typer.Option(help="NAME=A,B,...: the public levels of a randomised condition.")
    ] = None,
    decode_under: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE: draw every picture under this fact (a counterfactual).")
    ] = None,
    layout: options.Layout = "folders",
    root: options.Root = None,
    split: options.Split = None,
    images_per_patient: options.ImagesPerPatient = None,
    range: options.Range = None,
    invert: options.Invert = None,
    columns: options.Columns = None,
    dialect: options.Dialect = None,
    keep_geometry: Annotated[
        bool, typer.Option("--keep-geometry", help="Keep source rows, columns and bits: then not covered.")
    ] = False,
    record: Annotated[Path | None, typer.Option(help="RECORD: stays in the house. Default: beside the ledger.")] = None,
    ledger: options.Ledger = None,
    allow_trained_on_released: Annotated[
        bool,
        typer.Option(
            "--allow-trained-on-released",
            help="Release by a network that may have been trained on these records: then the claim's headline says so.",
        ),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted release into --out.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be claimed and spent; spend nothing.")
    ] = False,
    as_json: options.AsJson = False,
) -> int:
    """Release images with a privacy claim: read, encode, bound, randomise, decode, write."""
    from veilray.api import release as run
    from veilray.cli.ledger import print_ledger
    from veilray.flows import keep_freed_memory

    keep_freed_memory()
    print_ledger(ledger)
    levels = parse_pairs(condition_levels or [], "--condition-levels")
    with progress_stages("reading", "releasing", begun=False) as (on_scan, on_draw):
        outcome = run(
            images,
            model,
            epsilon,
            out,
            unit=unit,  # type: ignore[arg-type]  # checked where the claim is made
            mechanism=mechanism,
            delta=delta,
            clip=clip,
            radius=radius,
            bound=bound,
            candidates=candidates,
            mechanism_option=parse_pairs(mechanism_option or [], "--mechanism-option"),
            label_policy=label_policy,
            label_epsilon=label_epsilon,
            condition_policy=parse_pairs(condition_policy or [], "--condition-policy"),
            condition_levels={name: tuple(text.split(",")) for name, text in levels.items()},
            decode_under=parse_pairs(decode_under or [], "--decode-under"),
            layout=layout,
            root=root,
            split=split,
            images_per_patient=images_per_patient,
            range=range,
            invert=invert,
            columns=parse_columns(columns),
            dialect=dialect,
            keep_geometry=keep_geometry,
            record=record,
            ledger=ledger,
            allow_trained_on_released=allow_trained_on_released,
            resume=resume,
            dry_run=dry_run,
            on_scan=on_scan,
            on_draw=on_draw,
        )
    if as_json:
        _print_json(outcome)
    else:
        _print(outcome)
    return 1 if outcome.refused else 0


def _print(outcome: Outcome | Outcome) -> None:
    what = f"{outcome.count:,} {outcome.guarantee.record}s"
    if outcome.out is None:
        print_card(outcome.guarantee, title=f"Would be claimed for {what}; nothing was spent")
    else:
        print_card(outcome.guarantee, title=f"Released: {what}")
        OUT.print(f"RELEASE  {outcome.out}   (this leaves the house)", highlight=False, soft_wrap=True)
        OUT.print(f"RECORD   {outcome.record}   (this never does)", highlight=False, soft_wrap=True)
    if outcome.refused:
        where = "`veilray check` lists them" if outcome.record is None else "quarantine.csv in RECORD lists them"
        kind = "rows" if outcome.guarantee.record == "row" else "files"
        OUT.print(f"{len(outcome.refused):,} {kind} were refused; {where}.", style="yellow", soft_wrap=True)


def _print_json(outcome: Outcome | Outcome) -> None:
    print_json(
        {
            "dry_run": outcome.out is None,
            "release": None if outcome.out is None else str(outcome.out),
            "record": None if outcome.record is None else str(outcome.record),
            f"{outcome.guarantee.record}s": outcome.count,
            "quarantined": len(outcome.refused),
            "guarantee": outcome.guarantee.to_dict(),
        }
    )

"""What `veilray check` says of the records that a model was trained on, and of those among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from veilray.cli.output import OUT

if TYPE_CHECKING:
    from veilray.privacy import ModelTraining
    from veilray.releases.training_record import Overlap

__all__ = ["print_training", "training_told"]

_SHOWN = 20


def training_told(
    training: ModelTraining, overlap: Overlap | None, sources: Sequence[str], record: str = "image"
) -> dict[str, Any]:
    """For JSON: the model's statement, which records are among its training, and why a release would be refused.

    Args:
        overlap: None where the model was fitted on another machine, so that nobody knows.
        sources: the name of each record.
    """
    from veilray.releases.training_record import why_refused

    return {
        "data": training.data,
        "statement": training.statement,
        "compared": overlap is not None,
        "among_training": [] if overlap is None else [sources[place] for place in overlap.records],
        "patients_among_training": 0 if overlap is None else overlap.patients,
        "release_refuses": why_refused(training, overlap, record),
    }


def print_training(told: dict[str, Any]) -> None:
    """The same for people."""
    OUT.print(f"the model was trained on: {told['data']}: {told['statement']}", markup=False, soft_wrap=True)
    if not told["compared"]:
        OUT.print(
            "not compared with its training records: the model was fitted on another machine, or beside another ledger",
            soft_wrap=True,
        )
    for source in told["among_training"][:_SHOWN]:
        OUT.print(f"among the training records: {source}", style="yellow", markup=False, soft_wrap=True)
    if len(told["among_training"]) > _SHOWN:
        OUT.print(f"... and {len(told['among_training']) - _SHOWN:,} more: --json lists all", style="yellow")
    if told["release_refuses"]:
        OUT.print(f"`veilray release` will refuse: {told['release_refuses']}", style="yellow", soft_wrap=True)

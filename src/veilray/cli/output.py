"""What the command line says and where: results on stdout, progress on stderr, JSON when asked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from veilray.privacy import Guarantee
from veilray.privacy.card import ReleaseOrigin, card_entries

if TYPE_CHECKING:
    from veilray.flows import Progress as TrainingProgress
    from veilray.images import Quarantined

__all__ = ["OUT", "STATUS", "counted", "print_card", "print_json", "print_quarantine", "progress_bar", "training_bar"]

_SHOWN = 20
_EVERY_SECONDS = 10

OUT = Console(markup=False)
STATUS = Console(stderr=True, markup=False)


def counted(number: int, noun: str) -> str:
    """`1 image`, `2,549 images`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def print_json(told: dict[str, Any]) -> None:
    """The machine-readable result: one JSON object on stdout."""
    print(json.dumps(told, indent=2))  # noqa: T201 - this is the one place where results are printed raw


def print_card(
    guarantee: Guarantee | None, title: str = "What is claimed", origin: ReleaseOrigin | None = None
) -> None:
    """The guarantee card as one screen."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for entry in card_entries(guarantee, origin):
        style = "bold yellow" if entry.warning else ""
        table.add_row(entry.heading, entry.text, style=style)
    OUT.print(Panel(table, title=title, width=min(OUT.width, 110)))


def print_quarantine(entries: Sequence[Quarantined]) -> None:
    """The refused files with their reasons; the first twenty."""
    for entry in entries[:_SHOWN]:
        OUT.print(f"refused: {entry.source}: {entry.reason}", style="yellow", markup=False, soft_wrap=True)
    if len(entries) > _SHOWN:
        OUT.print(f"... and {len(entries) - _SHOWN} more", style="yellow")


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[..., None]]:
    """Progress on stderr: a bar with time remaining on a terminal, a line every ten seconds in a log file.

    Gives a callback `(done, total, note="")`.
    """
    if not STATUS.is_terminal:
        yield _Lines(text)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=STATUS, transient=True) as bar:
        task = bar.add_task(text, total=None, note="", visible=False)

        def advance(done: int, total: int, note: str = "") -> None:
            bar.update(task, completed=done, total=total, note=note, visible=True)

        yield advance


class _Lines:
    """Prints a line every ten seconds, so that a log file shows progress and short work leaves no trace."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._told = time.monotonic()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        if time.monotonic() - self._told > _EVERY_SECONDS:
            self._told = time.monotonic()
            STATUS.print(f"{self._text}: {done:,} of {total:,} {note}".rstrip(), highlight=False, soft_wrap=True)


@contextmanager
def training_bar() -> Iterator[Callable[[TrainingProgress], None]]:
    """A bar over all batches with bits per dimension beside it; gives the callback of a training run."""
    with progress_bar("training") as advance:

        def show(at: TrainingProgress) -> None:
            held_out = "" if at.validation_bits is None else f", held-out {at.validation_bits:.3f}"
            note = f"epoch {at.epoch} of {at.epochs}: {at.train_bits:.3f} bits/dim{held_out}"
            advance((at.epoch - 1) * at.batches + at.batch, at.epochs * at.batches, note)

        yield show

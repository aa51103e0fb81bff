"""What the command line says and where: results on stdout, progress on stderr, JSON when asked.

Everything goes through `OUT` and `STATUS`, which show what came from outside (names of files, labels, patients) and
never obey it: see `veilray.text.printable`. Their words are no markup either.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from veilray.privacy import Guarantee
from veilray.privacy.card import ReleaseOrigin, card_entries
from veilray.text import printable

if TYPE_CHECKING:
    from veilray.flows import Progress as TrainingProgress
    from veilray.images import Quarantined

__all__ = [
    "OUT",
    "STATUS",
    "Advance",
    "counted",
    "print_card",
    "print_json",
    "print_quarantine",
    "progress_bar",
    "progress_stages",
    "training_bar",
]

_SHOWN = 20
_EVERY_SECONDS = 10

Advance = Callable[..., None]
"""Told `(done, total, note="")`; a total of 0 is one that is not known yet."""


class _Screen(Console):
    """A console on which no text is obeyed: text is escaped where rich makes it, and again where it is put out."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False)

    def render_str(self, text: str, **how: Any) -> Text:
        """As rich does, of text on one line: a line break in it came from outside."""
        return super().render_str(printable(text), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """As rich does; signs that rich itself puts out, such as moving the cursor, are segments apart."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text, keep="\n"))


OUT = _Screen()
STATUS = _Screen(stderr=True)


def counted(number: int, noun: str) -> str:
    """`1 image`, `2,549 images`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def print_json(told: dict[str, Any]) -> None:
    """The machine-readable result: one JSON object on stdout."""
    text = json.dumps(told, indent=2).replace("\x7f", "\\u007f")  # the one control sign that ASCII JSON leaves as it is
    print(text)  # noqa: T201 - this is the one place where results are printed raw


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
    OUT.print(Panel(table, title=Text(title), width=min(OUT.width, 110)))


def print_quarantine(entries: Sequence[Quarantined]) -> None:
    """The refused files with their reasons; the first twenty."""
    for entry in entries[:_SHOWN]:
        OUT.print(f"refused: {entry.source}: {entry.reason}", style="yellow", soft_wrap=True)
    if len(entries) > _SHOWN:
        OUT.print(f"... and {len(entries) - _SHOWN} more", style="yellow")


@contextmanager
def progress_bar(text: str) -> Iterator[Advance]:
    """Progress of one piece of work, visible from its beginning: see `progress_stages`."""
    with progress_stages(text) as (advance,):
        yield advance


@contextmanager
def progress_stages(*texts: str, begun: bool = True) -> Iterator[tuple[Advance, ...]]:
    """Progress of pieces of work, one after the other, on stderr: each is visible from its beginning.

    On a terminal a bar with time remaining; in a log file a line at the beginning and one every ten seconds.

    Args:
        texts: what is done at each stage: "reading images".
        begun: whether the first begins at once; otherwise when it is first told of. The next begins when one is told
            to be done.

    Yields:
        What each stage is told `(done, total, note="")` with.
    """
    if not STATUS.is_terminal:
        lines = [_Lines(text) for text in texts]
        yield _chained([(stage, stage.begin) for stage in lines], begun)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=STATUS, transient=True) as bar:
        yield _chained([_on_terminal(bar, text) for text in texts], begun)


_Stage = tuple[Advance, Callable[[], None]]
"""What a stage is told, and how it is shown to have begun."""


def _chained(stages: Sequence[_Stage], begun: bool) -> tuple[Advance, ...]:
    """Each stage's callback, which also begins the next stage when its own is done."""
    if begun:
        stages[0][1]()

    def chained(place: int) -> Advance:
        def advance(done: int, total: int, note: str = "") -> None:
            stages[place][0](done, total, note)
            if 0 < total <= done and place + 1 < len(stages):
                stages[place + 1][1]()

        return advance

    return tuple(chained(place) for place in range(len(stages)))


def _on_terminal(bar: Progress, text: str) -> _Stage:
    task = bar.add_task(printable(text), total=None, note="", visible=False)

    def advance(done: int, total: int, note: str = "") -> None:
        bar.update(task, completed=done, total=total or None, note=printable(note), visible=True)

    return advance, lambda: bar.update(task, visible=True)


class _Lines:
    """A line when the work begins, and one every ten seconds, so that a log file shows progress."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._told: float | None = None

    def begin(self) -> None:
        if self._told is None:
            self._told = time.monotonic()
            STATUS.print(self._text, highlight=False, soft_wrap=True)

    def __call__(self, done: int, total: int, note: str = "") -> None:
        self.begin()
        assert self._told is not None
        if time.monotonic() - self._told > _EVERY_SECONDS:
            self._told = time.monotonic()
            of = f" of {total:,}" if total else ""
            STATUS.print(f"{self._text}: {done:,}{of} {note}".rstrip(), highlight=False, soft_wrap=True)


@contextmanager
def training_bar(
    before: Sequence[str] = (), after: Sequence[str] = (), *, begun: bool = True
) -> Iterator[tuple[Callable[[TrainingProgress], None], tuple[Advance, ...]]]:
    """A bar over all batches with bits per dimension beside it.

    Args:
        before, after: stages of work that come before and after the training.
        begun: as in `progress_stages`.

    Yields:
        The callback of the training run, and those of the other stages.
    """
    with progress_stages(*before, "training", *after, begun=begun) as stages:
        advance = stages[len(before)]

        def show(at: TrainingProgress) -> None:
            held_out = "" if at.validation_bits is None else f", held-out {at.validation_bits:.3f}"
            note = f"epoch {at.epoch} of {at.epochs}: {at.train_bits:.3f} bits/dim{held_out}"
            advance((at.epoch - 1) * at.batches + at.batch, at.epochs * at.batches, note)

        yield show, (*stages[: len(before)], *stages[len(before) + 1 :])
